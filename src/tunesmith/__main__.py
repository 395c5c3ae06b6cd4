"""`tunesmith` and `python -m tunesmith`."""


def main() -> None:
    """Run the command line."""
    from tunesmith.cli.main import run

    run()


if __name__ == "__main__":
    main()
