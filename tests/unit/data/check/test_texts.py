"""Problems in texts: found where they are, not found in ordinary text, mended where it is safe."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tunesmith.data.check.markup import find_markup
from tunesmith.data.check.mojibake import find_mojibake
from tunesmith.data.check.personal import (
    find_bank_card,
    find_email,
    find_id_number,
    find_ip,
    find_phone,
)
from tunesmith.data.check.placeholders import find_placeholder
from tunesmith.data.check.texts import (
    CODES,
    EXCERPT_LENGTH,
    MENDABLE,
    Texts,
    excerpt,
    find_in_texts,
    mended,
)


def _found(question: str, answer: str) -> set[str]:
    return set(find_in_texts(_texts((question, answer))))


def _texts(*rows: tuple[str, str]) -> Texts:
    questions, answers = zip(*rows, strict=True)
    whole = [f"{question}\n{answer}" for question, answer in rows]
    return Texts(*(pa.array(texts, pa.large_string()) for texts in (questions, answers, whole)))


def _in_answer(answer: str) -> set[str]:
    return _found("What do you think about this matter, in a few words?", answer)


PLACEHOLDERS = [
    "TODO",
    "TODO write this answer",
    "Here it is.\n# TODO: handle errors",
    "FIXME later",
    "Lorem ipsum dolor sit amet",
    "Dear xxx, thank you.",
    "Call XXXX for help",
    "我毕业于XXX大学",
    "[insert name here] is great",
    "Sincerely, [Your Name]",
    "Hello {{name}}, welcome",
    "您好{{ 姓名 }}，欢迎",
    "<insert answer>",
    "Your answer goes here",
    "As an AI language model, I cannot say.",
    "as an AI, I have no feelings",
    "I'm sorry, but as an AI assistant I can't.",
    "I'm an AI language model and cannot browse.",
    "作为一个人工智能，我没有感情。",
    "作为一个人工智能助手，我无法回答",
    "作为AI，我不能",
    "我是ChatGPT，由OpenAI训练。",
    "我是由OpenAI开发的语言模型",
    "I am ChatGPT, how can I help?",
    "I'm a large language model trained by OpenAI.",
    "作为一个大型语言模型，我",
    "答案待补充",
    "（此处填写内容）",
    "此致 [您的姓名]",
    "nan",
    " NULL ",
    "N/A",
    "略",
    "（略）",
    "#REF!",
]
NO_PLACEHOLDERS = [
    "Build a TODO list app with tests.",
    "I have much todo about nothing; the to-do is done.",
    "SOBRE TODO EL MUNDO",
    "En este método hay de todo un poco.",
    "Use max-width and font-size: xxx-large.",
    "The Super Bowl XXX was played in 1996.",
    "Artificial intelligence is used as an AI researcher would use it.",
    "She works as an AI engineer at a bank.",
    "ChatGPT is a model made by OpenAI; I am sure about that.",
    "我是老师，常用ChatGPT备课。",
    "以下内容略有不同。",
    "作为人工智能的一个分支，机器学习发展很快。",
    "作为人工智能领域的专家，他很有名。",
    "他的能量有待补充。",
    "See [your account](https://shop.cn/me) for details.",
    r"The result is \frac{{a}}{{b}} and x_{{i}}.",
    "```jinja\nHello {{ name }}\n```",
    "The array is [insert_at, your_index].",
    "[Enter HAMLET, with a book]",
    "The null hypothesis is an assumption.",
]


@pytest.mark.parametrize("answer", PLACEHOLDERS)
def test_placeholders_are_found(answer: str) -> None:
    assert "placeholder" in _in_answer(answer)


@pytest.mark.parametrize("answer", NO_PLACEHOLDERS)
def test_ordinary_words_are_no_placeholders(answer: str) -> None:
    assert "placeholder" not in _in_answer(answer)


GARBLED = {
    "cafÃ© in ZÃ¼rich": "café in Zürich",
    "donâ€™t â€“ really": "don’t – really",
    "he said â€œyesâ€¦": "he said “yes…",
    "voilÃ\u00a0 le rÃ©sultat": "voilà le résultat".replace("à ", "à "),
    "ä½\u00a0å¥½ä¸–ç•Œ": "你好世界",
    "25Â°C, Â£5": "25°C, £5",
    "great ðŸ˜€": "great 😀",
    "ÃƒÂ©tÃƒÂ©": "été",
    "ÐŸÑ€Ð¸Ð²ÐµÑ‚": "Привет",
    "浣犲ソ锛屼笘鐣岋紒": "你好，世界！",
    "缂栫爜娴嬭瘯": "编码测试",
    "ÖÐ¹úÈËÃñ": "中国人民",
    "He said ÖÐÎÄ±àÂë²âÊÔ to me.": "He said 中文编码测试 to me.",
}


@pytest.mark.parametrize(("text", "meant"), GARBLED.items())
def test_garbled_text_is_found_and_its_meaning_recovered(text: str, meant: str) -> None:
    assert "mojibake" in _in_answer(text)
    assert mended("mojibake", text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "锟斤拷锟斤拷",
        "涓枃缂栫爜娴嬭瘯",
        "ä¸\u00adæ–‡ä¹±ç",
        "烫烫烫烫",
        "lost \ufffd here",
        "donâ€™t \ufffd",
        "é”™ and \ufffd",
    ],
)
def test_text_that_lost_characters_is_found_and_not_mended(text: str) -> None:
    assert "mojibake" in _in_answer(text)
    assert mended("mojibake", text) is None


@pytest.mark.parametrize(
    "text",
    [
        "Élève à l'école, où Noël coûte cher — « déjà vu » à Paris…",
        "He met his fiancé… “My fiancé”…",
        "„Spaß“, sagte Jürgen, „ist Größe“. ÄÖÜ ß",
        "São João comeu a MAÇÃ” e a IRMÃ… VÃO.",
        "Ångström, Łódź, Žižek, Đà Nẵng, İstanbul, naïve, 25 °C, £5, ½ × ¾",
        "锟这个字很少见，烫手。",
        "ÄÖÜß ÄÖÜÄÖÜ ÀÉÈÙ ÇÑÕÃ ¡¡¡¡ ¿¿¿¿ «»«» ½¼¾",
        "涓涓细流，缂丝工艺，娴熟的浙江婀娜，泾渭分明，渑池之会。",
        "汉字：浜濮淞涪涿淇淅淄渎涞洙浠浈",
        "你好，世界！「引号」、（括号）",
        "Привет, как дела?",
    ],
)
def test_ordinary_accents_and_scripts_are_not_garbled(text: str) -> None:
    assert "mojibake" not in _in_answer(text)
    assert mended("mojibake", text) is None


# Letters without those that cp1252 has for bytes: a text with them may itself look garbled.
ACCENTED = st.characters(min_codepoint=0xC0, max_codepoint=0x17F, exclude_characters="ŒœŠšŽžŸ")


@given(st.text(ACCENTED, min_size=2, max_size=20))
@example("\u0130\u00c0\u00c1")  # its bytes are Chinese in GB 2312, too
@example("\u0162\u00f4")  # and so are these, whole
def test_a_mended_text_is_what_somebody_garbled(text: str) -> None:
    assume(find_mojibake(text) is None)
    try:
        garbled = text.encode().decode("cp1252")
    except UnicodeDecodeError:
        garbled = text.encode().decode("latin-1")
    assert mended("mojibake", garbled) in (text, None)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("bell\x07 rings", "bell rings"),
        ("zero\u200bwidth", "zerowidth"),
        ("bom\ufeff inside", "bom inside"),
        ("turn\u202e over", "turn over"),
        ("c1\x93 control", "c1 control"),
        ("a\u200db", "ab"),
        ("left\u200eright", "leftright"),
        ("and\x0bvt", "and\nvt"),
        ("\x08eta + \x07lpha \x0bec{x}", r"\beta + \alpha \vec{x}"),
        ("one\x0ctwo\x0c", "one\ntwo"),
        ("\x08egin{x} \x0crac{1}{2}\x0c", r"\begin{x} \frac{1}{2}"),
    ],
)
def test_unseen_characters_are_found_and_removed(text: str, clean: str) -> None:
    assert "control_characters" in _in_answer(text)
    assert mended("control_characters", text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "tabs\tand\r\nlines",
        "family 👨\u200d👩\u200d👧 and ❤\ufe0f\u200d🔥",
        "می\u200cخواهم",
        "สวัสดี\u200bครับ ภาษา\u200b ABC",
        "क्\u200dष",
        "שלום \u200fעולם\u200e",
    ],
)
def test_joiners_and_marks_that_a_script_needs_stay(text: str) -> None:
    assert "control_characters" not in _in_answer(text)
    assert mended("control_characters", text) is None


def test_control_characters_of_garbled_text_stay_until_it_is_mended() -> None:
    text = "ä½\u00a0å¥½ã\u0080\u0082"
    assert mended("control_characters", text) is None
    assert mended("mojibake", text) == "你好。"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("one<br/>two<br>three", "one\ntwo\nthree"),
        ("fish&nbsp;&amp;&nbsp;chips", "fish & chips"),
        ("it&#39;s &quot;fine&quot;", 'it\'s "fine"'),
        ("a &amp;lt; b", "a < b"),
        ("a &lt;b&gt; &amp;nbsp; entity", "a <b>   entity"),
        ("<p>first</p>", None),
        ('see <a href="https://a.cn">this</a>', None),
        ("this is <b>bold", None),
        ("text</div>", None),
        ("<div><p>unclosed html <b>bold</div>", None),
    ],
)
def test_leftover_markup_is_found_and_mended_where_its_meaning_is_plain(
    text: str, clean: str | None
) -> None:
    assert "broken_html" in _in_answer(text)
    assert mended("broken_html", text) == clean


@given(st.lists(st.sampled_from(["&amp;", "&lt;", "lt;", "nbsp;", "&", "br", "<br>", ">", " a"])))
def test_mending_markup_once_more_changes_nothing(pieces: list[str]) -> None:
    once = mended("broken_html", "".join(pieces))
    assert once is None or mended("broken_html", once) is None


@pytest.mark.parametrize(
    "text",
    [
        "List<String> names = new ArrayList<>(); Map<A, B> m;",
        "if a < b and c > d then a<b>c is odd",
        "std::vector<int> v; template <typename T> class X {};",
        "i < 10 && j > 5; &value; x &= y; AT&T; R&D; a?b=1&lt=2",
        "Use `<br>` for a break.",
        "```\n<div>hello</div>\n```",
        "In HTML, <div> is a block and <br> a break.",
        "<!DOCTYPE html><html><body><p>hi</p></body></html>",
        "a <b>bold</b> word and H<sub>2</sub>O",
        "<think>hm</think> I love this <3",
        "写一个网页：<div>你好</div>",
        "HTML:\n<div><p>one<p>two <b>bold</b></div>\n<p>Use <br> to break</p>",
    ],
)
def test_code_and_markup_on_purpose_are_left_alone(text: str) -> None:
    assert "broken_html" not in _in_answer(text)
    assert mended("broken_html", text) is None


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is the capital of France?", "What is the capital of France?"),
        ("What is the capital of France?", "what is  the capital\nof france"),
        ("中国的首都是哪里？", "中国的首都是哪里"),
        ("Explain gravity to a child.", "A: explain gravity to a child!"),
        ("Q: Explain gravity to a child.", "Explain gravity to a child."),
    ],
)
def test_an_answer_that_repeats_the_question_is_found(question: str, answer: str) -> None:
    assert "answer_repeats_question" in _found(question, answer)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is the capital of France?", "The capital of France is Paris."),
        ("Is it red or blue?", "red"),
        ("Correct: She dont like it at all.", "She doesn't like it at all."),
        ("Hi", "Hello"),
        ("What is it?", "What is it? It is a large animal that lives in Africa and eats leaves."),
        ("中国的首都是哪里？", "中国的首都是北京。"),
        ("", ""),
        ("?", "!"),
    ],
)
def test_an_answer_that_says_something_is_no_repetition(question: str, answer: str) -> None:
    assert "answer_repeats_question" not in _found(question, answer)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("???", "!!!"),
        ("......", ""),
        ("1234 5678", "9999 0000 1111"),
        ("Tell me a story.", "..."),
        ("请介绍一下北京。", "。。。。。。"),
        ("Tell me a story.", "ha" * 40),
        ("Tell me a story.", "aaaaaaaaaaaaaaaaaaaa"),
        ("Tell me a story.", "Yes. " + "I am sorry, I cannot. " * 12),
        ("请介绍一下北京。", "北京是一个很大的城市，" * 8),
        ("Tell me a story.", "Once upon a time. " * 2 + "the cat sat on the mat and then " * 100),
    ],
)
def test_rows_without_meaning_are_found(question: str, answer: str) -> None:
    assert "meaningless" in _found(question, answer)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("12 + 30 = ?", "42"),
        ("3*4", "12"),
        ("How old are you?", "42"),
        ("Rate it.", "5/5"),
        ("Which operator?", "+="),
        ("How do you feel?", "👍"),
        ("你好", "你好！有什么可以帮您？"),
        ("Laugh.", "hahaha"),
        ("सबसे बड़ा ग्रह कौन सा है?", "बृहस्पति सबसे बड़ा ग्रह है।"),
        ("Make a table.", "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n| five | six |"),
        ("Count.", ", ".join(str(number) for number in range(200))),
        ("", ""),
    ],
)
def test_short_and_plain_rows_have_a_meaning(question: str, answer: str) -> None:
    assert "meaningless" not in _found(question, answer)


def test_text_without_turns_is_checked_as_a_whole() -> None:
    whole = ["an ordinary document about trees", "the same words again " * 30, "mail me: a@corp.cn"]
    empty = pa.array([""] * 3, pa.large_string())
    found = find_in_texts(Texts(empty, empty, pa.array(whole, pa.large_string())))
    assert {code: mask.tolist() for code, mask in found.items()} == {
        "meaningless": [False, True, False],
        "personal_email": [False, False, True],
    }


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("My passport number is X1234567.", "personal_id_number"),
        ("香港身份证 A123456(3)", "personal_id_number"),
        ("pay to DE89370400440532013000", "personal_id_number"),
        ("身份证号11010519491231002X，", "personal_id_number"),
        ("SSN 536-22-8726.", "personal_id_number"),
        ("NHS 943 476 5919", "personal_id_number"),
        ("amex 3782 822463 10005", "personal_bank_card"),
        ("卡号6222021234567890128", "personal_bank_card"),
        ("手机 １３８１２３４５６７８", "personal_phone"),
        (
            "身份证１１０１０５１９４９１２３１００２Ｘ，卡４１１１１１１１１１１１１１１１",
            "personal_bank_card",
        ),
    ],
)
def test_numbers_pass_the_quick_look_at_whole_columns(answer: str, code: str) -> None:
    assert code in _in_answer(answer)


def test_findings_stand_at_their_rows_and_others_are_left_out() -> None:
    rows = [("Name a colour.", "Blue is a colour.")] * 300
    rows[7] = ("Name a colour.", "TODO")
    rows[299] = ("Name a colour.", "Ask 13812345678, and TODO.")
    found = find_in_texts(_texts(*rows))
    assert set(found) == {"placeholder", "personal_phone"}
    assert found["placeholder"].nonzero()[0].tolist() == [7, 299]
    assert found["personal_phone"].nonzero()[0].tolist() == [299]


def test_null_texts_and_empty_blocks_hold_nothing() -> None:
    nothing = pa.array([None, None], pa.string())
    assert find_in_texts(Texts(nothing, nothing, nothing)) == {}
    empty = pa.array([], pa.large_string())
    assert find_in_texts(Texts(empty, empty, empty)) == {}


def test_an_excerpt_shows_what_was_found_in_the_middle_of_a_long_text() -> None:
    text = "word " * 200 + "write to john@corp.cn, please. " + "word " * 200
    shown = excerpt("personal_email", text)
    assert "john@corp.cn, please" in shown
    assert shown.startswith("...")
    assert shown.endswith("...")
    assert len(shown) <= EXCERPT_LENGTH


def test_an_excerpt_is_one_line_with_escapes_for_what_cannot_be_seen() -> None:
    assert excerpt("control_characters", "one\ntwo\u200bthree\x07") == r"one two\u200bthree\x07"
    assert excerpt("meaningless", "???") == "???"


@given(st.sampled_from((*CODES, "unknown")), st.text())
def test_an_excerpt_of_any_text_is_short_and_printable(code: str, text: str) -> None:
    shown = excerpt(code, text)
    assert len(shown) <= EXCERPT_LENGTH
    assert shown.isprintable()


@given(st.text(max_size=40), st.text(max_size=80))
def test_any_text_can_be_checked(question: str, answer: str) -> None:
    found = find_in_texts(_texts((question, answer)))
    assert all(mask.shape == (1,) for mask in found.values())
    assert set(found) <= set(CODES)


_FRAGMENTS = st.sampled_from(
    [
        *(*PLACEHOLDERS, *NO_PLACEHOLDERS, *GARBLED, "<br>", "&amp;", "\x07", " \u200b", " a < b "),
        *("\n", "`code`", "```", "你好", "a@b.cn", " "),
    ]
)


@given(st.lists(_FRAGMENTS, max_size=6).map("".join), st.sampled_from(MENDABLE))
def test_a_mend_leaves_nothing_of_its_kind_to_mend(text: str, code: str) -> None:
    clean = mended(code, text)
    assert clean is None or clean != text
    if clean is not None and code != "broken_html":  # "&amp;lt;" was escaped twice
        assert mended(code, clean) is None


_FINDERS = {
    "placeholder": find_placeholder,
    "mojibake": find_mojibake,
    "broken_html": find_markup,
    "personal_phone": find_phone,
    "personal_email": find_email,
    "personal_id_number": find_id_number,
    "personal_bank_card": find_bank_card,
    "personal_ip": find_ip,
}
_ODD = st.text("aAxX0123456789+-().@<>/&;#{}[]_ÃÂ©â€™äå½好锛烫\ufffd\u00a0 \n", max_size=12)
_PERSONAL = st.sampled_from(
    [
        *("13812345678", "(415) 867-5309", "+49 (30) 901820", "536-22-8726", "52.94.236.248"),
        *("11010519491231002X", "4111 1111 1111 1111", "+1 (212) 867-5309"),
    ]
)


@given(st.lists(_FRAGMENTS | _PERSONAL | _ODD, max_size=5).map("".join))
def test_the_quick_look_at_a_block_misses_nothing(text: str) -> None:
    empty = pa.array([""], pa.large_string())
    found = find_in_texts(Texts(empty, empty, pa.array([text], pa.large_string())))
    for code, find in _FINDERS.items():
        assert (code in found) == (find(text) is not None), code


@pytest.mark.parametrize(
    "piece",
    [
        *("@", "a@", '<div a="', "<a ", "{{a", "[your ", "```", "`a", "Ã©", "Ã", "1 ", "1", "锛"),
        *("as a ", "x", "+1 ", "4111 ", "\u200d", "&amp", "I am ", "烫", "(", " ", "a.", "1.1."),
    ],
)
def test_a_long_row_of_anything_is_checked_in_linear_time(piece: str) -> None:
    # Were any pattern quadratic, this would take an hour.
    text = piece * (200_000 // len(piece))
    found = find_in_texts(_texts(("", text)))
    for code in found:
        assert len(excerpt(code, text)) <= EXCERPT_LENGTH
    for code in MENDABLE:
        mended(code, text)


def test_white_space_around_a_text_is_trimmed() -> None:
    assert mended("surrounding_whitespace", " \n a b \t") == "a b"
    assert mended("surrounding_whitespace", "a b") is None
    assert mended("placeholder", "TODO") is None
