"""`--format ollama`: a GGUF file and the Modelfile that lets Ollama run it with its template.

Ollama writes prompts by a template in Go's language. A chat template is recognised by what it
makes of some conversations: equal texts mean the same template, however it is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tunesmith.data.chat_template import (
    ChatTemplate,
    TemplateRefused,
    builtin_template,
)
from tunesmith.data.conversation import Message
from tunesmith.engine.exporting.errors import ExportRefused
from tunesmith.engine.exporting.formats import Artefact, Choice
from tunesmith.engine.exporting.gguf.folder import GgufFolder
from tunesmith.engine.exporting.gguf.writing import begins_with_bos
from tunesmith.engine.exporting.narrator import Narrator
from tunesmith.engine.exporting.parity.limits import Precision
from tunesmith.engine.exporting.source import Source

MODELFILE = "Modelfile"
# What stands for the text of a turn, the end of a text and the system message that is kept.
_USER, _ANSWER, _EOS = "@USER@", "@ANSWER@", "@EOS@"
_KEEP_SYSTEM = '{{ if eq .Role "system" }}{{ $system = .Content }}{{ else if eq .Role "user" }}'
_SYSTEM = '{{ if $system }}{{ $system }}\n\n{{ $system = "" }}{{ end }}'

_WRITE_BOS = ("llama3", "gemma", "mistral")  # templates that begin with the token of beginnings

# The built-in templates in Go's language; `range` goes through the turns.
GO_TEMPLATES: dict[str, str] = {
    "chatml": (
        '{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ if eq .Role "user" }}@USER@'
        '{{ else if eq .Role "assistant" }}@ANSWER@{{ else }}{{ .Content }}{{ end }}<|im_end|>\n'
        "{{ end }}<|im_start|>assistant\n"
    ),
    "llama3": (
        '{{ range .Messages }}<|start_header_id|>{{ if eq .Role "tool" }}ipython{{ else }}'
        "{{ .Role }}{{ end }}<|end_header_id|>\n\n"
        '{{ if eq .Role "user" }}@USER@{{ else if eq .Role "assistant" }}@ANSWER@{{ else }}'
        "{{ .Content }}{{ end }}<|eot_id|>{{ end }}"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "gemma": (
        '{{ $system := "" }}{{ range .Messages }}'
        f"{_KEEP_SYSTEM}<start_of_turn>user\n{_SYSTEM}@USER@<end_of_turn>\n"
        "{{ else }}<start_of_turn>model\n@ANSWER@<end_of_turn>\n{{ end }}{{ end }}"
        "<start_of_turn>model\n"
    ),
    "mistral": (
        '{{ $system := "" }}{{ range .Messages }}'
        f"{_KEEP_SYSTEM}[INST] {_SYSTEM}@USER@ [/INST]"
        "{{ else }} @ANSWER@@EOS@{{ end }}{{ end }}"
    ),
    "alpaca": (
        '{{ range .Messages }}{{ if eq .Role "system" }}{{ .Content }}\n\n'
        '{{ else if eq .Role "assistant" }}### Response:\n@ANSWER@@EOS@'
        "{{ else }}### Instruction:\n@USER@\n\n{{ end }}{{ end }}### Response:\n"
    ),
    "glm4": (
        '[gMASK]<sop>{{ range .Messages }}<|{{ if eq .Role "tool" }}observation{{ else }}'
        '{{ .Role }}{{ end }}|>\n{{ if eq .Role "user" }}@USER@'
        '{{ else if eq .Role "assistant" }}@ANSWER@{{ else }}{{ .Content }}{{ end }}{{ end }}'
        "<|assistant|>"
    ),
}


@dataclass(frozen=True)
class Recognised:
    """Which built-in template a chat template is equal to, and what it adds to that.

    `system` is the message that it writes where there is none; `lead` stands before an answer,
    such as an empty thought, and `leads_all` says whether before earlier answers too.
    """

    name: str
    system: str | None = None
    lead: str = ""
    leads_all: bool = False


@dataclass(frozen=True)
class OllamaFolder:
    """A GGUF file with a Modelfile beside it."""

    gguf: GgufFolder
    modelfile: str

    @classmethod
    def of(cls, source: Source, choice: Choice) -> OllamaFolder:
        """Refuse templates that are not known in Go's language."""
        gguf = GgufFolder.of(source, choice)
        return cls(gguf, modelfile(source, gguf.file_name))

    @property
    def precision(self) -> Precision:
        """That of the GGUF file."""
        return self.gguf.precision

    def notes(self) -> list[str]:
        """Those of the GGUF file."""
        return self.gguf.notes()

    def num_bytes(self) -> int:
        """As the GGUF file."""
        return self.gguf.num_bytes()

    def write(self, folder: Path, narrator: Narrator) -> None:
        """Both files."""
        self.gguf.write(folder, narrator)
        (folder / MODELFILE).write_text(self.modelfile, encoding="utf-8")

    def read(self, folder: Path) -> Artefact:
        """The GGUF file by transformers; Ollama's own template is checked before."""
        return self.gguf.read(folder)

    def usage(self) -> str:
        """With Ollama."""
        name = self.gguf.plan.source.name.lower()
        return f"```\nollama create {name} -f {MODELFILE}\nollama run {name}\n```"


def modelfile(source: Source, file_name: str) -> str:
    """The text of the Modelfile; ExportRefused when there is no template for it."""
    lines = [f"FROM ./{file_name}", f'TEMPLATE """{go_template(source)}"""']
    recognised = None if source.is_plain else recognise(source)
    if recognised is not None and recognised.system is not None:
        lines.append(f'SYSTEM """{recognised.system}"""')
    core = source.renderer.tokenizer.core
    stops = [core.id_to_token(number) for number in source.stop_ids]
    lines += [f'PARAMETER stop "{text}"' for text in stops if text]
    return "\n".join(lines) + "\n"


def go_template(source: Source) -> str:
    """The template of the training in Go's language."""
    if source.is_plain:
        return "{{ .Prompt }}"
    recognised = recognise(source)
    if recognised is None:
        raise ExportRefused(
            "The chat template of this model is not one that is known in Ollama's language (Go).",
            hint="Known are " + ", ".join(GO_TEMPLATES) + ". Use --format gguf, and write the "
            "TEMPLATE of a Modelfile by hand.",
            code="ollama_template_unknown",
        )
    lead = _escaped(recognised.lead)
    text = GO_TEMPLATES[recognised.name] + lead
    if recognised.name in _WRITE_BOS and not begins_with_bos(source):
        text = _escaped(source.renderer.tokenizer.bos_token or "") + text
    wrapped = {
        _USER: _wrapped(source, "user"),
        _ANSWER: lead * recognised.leads_all + _wrapped(source, "assistant"),
        _EOS: _escaped(source.renderer.tokenizer.eos_token or ""),
    }
    for place, content in wrapped.items():
        text = text.replace(place, content)
    return text


def recognise(source: Source) -> Recognised | None:
    """The built-in template that makes the same of every conversation which Ollama may have."""
    tokenizer = source.renderer.tokenizer
    bos = tokenizer.bos_token or "" if begins_with_bos(source) else ""
    own = source.renderer.template
    for name in GO_TEMPLATES:
        known = ChatTemplate(builtin_template(name), tokenizer)
        plain = Recognised(name, _added_system(own, bos))
        lead = _lead(own, known, bos, plain)
        for candidate in (
            replace(plain, lead=lead),
            replace(plain, lead=lead, leads_all=bool(lead)),
        ):
            if _same(own, known, bos, candidate):
                return candidate
    return None


def _lead(own: ChatTemplate, known: ChatTemplate, bos: str, plain: Recognised) -> str:
    """What the template writes behind all that the known one does, before an answer."""
    first = _probes()[0]
    left, right = _rendered(own, first, bos), _expected(known, first, bos, plain)
    if left is None or right is None or not left.startswith(right):
        return ""
    return left.removeprefix(right)


def _same(own: ChatTemplate, known: ChatTemplate, bos: str, candidate: Recognised) -> bool:
    for messages in _probes():
        left = _rendered(own, messages, bos)
        if left is None or left != _expected(known, messages, bos, candidate):
            return False
    return True


def _expected(
    known: ChatTemplate, messages: Sequence[Message], bos: str, candidate: Recognised
) -> str | None:
    """What the known template writes with all that is added to it."""
    is_bare = messages[0].role != "system"
    has_system = candidate.system is not None and is_bare
    turns = [Message("system", candidate.system or "")] if has_system else []
    for message in messages:
        leads = candidate.leads_all and message.role == "assistant"
        turns.append(replace(message, content=candidate.lead * leads + message.content))
    text = _rendered(known, turns, bos)
    return None if text is None else text + candidate.lead


def _rendered(template: ChatTemplate, messages: Sequence[Message], bos: str) -> str | None:
    """Without the token that readers put in front by themselves."""
    try:
        return template(messages, generate=True).removeprefix(bos)
    except TemplateRefused:
        return None


def _added_system(template: ChatTemplate, bos: str) -> str | None:
    """The system message that a ChatML template writes where nobody gave one, as Qwen's does."""
    text = _rendered(template, [Message("user", "one")], bos) or ""
    start, end = "<|im_start|>system\n", "<|im_end|>\n"
    if not text.startswith(start):
        return None
    return text.removeprefix(start).partition(end)[0]


def _probes() -> list[tuple[Message, ...]]:
    """Conversations that end with a question: those that are answered."""
    system, first = Message("system", "zero"), Message("user", "one")
    later = (Message("assistant", "two"), Message("user", "three"))
    last = (Message("assistant", "four"), Message("user", "five"))
    return [
        (first,),
        (system, first),
        (first, *later),
        (system, first, *later, *last),
    ]


def _wrapped(source: Source, role: str) -> str:
    """The text of a turn, with what the recipe puts around it."""
    before, after = source.renderer.around(role)
    return f"{_escaped(before)}{{{{ .Content }}}}{_escaped(after)}"


def _escaped(text: str) -> str:
    """A text in which Go sees no command."""
    return text.replace("{{", '{{ "{{" }}')
