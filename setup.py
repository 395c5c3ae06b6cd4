"""What pyproject.toml cannot say: a wheel has the console inside, or there is no wheel."""

from __future__ import annotations

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PAGE = Path(__file__).parent / "src" / "tunesmith" / "console_files" / "index.html"


class WithConsole(build_py):
    """Copies the package; an editable install takes the files from where they are built."""

    def run(self) -> None:
        if not self.editable_mode and not PAGE.is_file():
            raise SystemExit("The console is not built: run `make console` first.")
        super().run()


setup(cmdclass={"build_py": WithConsole})
