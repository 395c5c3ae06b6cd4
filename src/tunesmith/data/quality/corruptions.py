"""Good answers made bad, in the ways in which the rows of real datasets are bad.

Each kind takes (question, answer, another row's answer, generator) and gives a pair; the same seed
gives the same pair. They teach the classifier, and they show how much of each kind it finds.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from tunesmith.data.quality.texts import Pair

Corrupt = Callable[[str, str, str, np.random.Generator], Pair]
_CHINESE = re.compile("[\u3400-\u9fff]")
_BOILERPLATE_EN = (
    "Click here to subscribe to our newsletter and never miss an update! Share this page",
    "Copyright 2019. All rights reserved. Terms of Service | Privacy Policy | Contact us",
    "As an AI language model, I am not able to help with that request.",
    "Home > Blog > Posts. Leave a reply. Your email address will not be published.",
    "Sign in or register to read the rest of this article. Advertisement",
    "Please enable JavaScript and cookies in your browser to continue.",
    "I'm sorry, but I cannot answer this question. Is there anything else you would like?",
    "Read more: 10 tricks that will change your life. Next page: 1 2 3 ... 27",
)
_BOILERPLATE_ZH = (
    "点击这里关注公众号，获取更多精彩内容，记得点赞、收藏、转发！",
    "版权所有，未经许可不得转载。责任编辑：小编 上一篇 下一篇 返回首页",
    "作为一个人工智能语言模型，我无法满足您的请求。",
    "登录后查看全文。还没有账号？立即注册 广告 热门推荐",
    "首页 > 资讯 > 正文 分享到：微信 微博 QQ 空间 评论（0）",
    "对不起，我无法回答这个问题。请问还有什么可以帮您？",
    "本文来自网络，如有侵权请联系删除。更多内容请下载客户端",
    "扫码加群领取资料，限时免费，名额有限，先到先得！",
)


def shuffled(question: str, answer: str, _: str, chance: np.random.Generator) -> Pair:
    """The words in another order; Chinese in pieces of one to three characters."""
    pieces = _pieces(answer, chance)
    order = chance.permutation(len(pieces))
    return question, _join([pieces[at] for at in order], answer)


def cut(question: str, answer: str, _: str, chance: np.random.Generator) -> Pair:
    """Broken off in the middle of a sentence."""
    end = int(len(answer) * chance.uniform(0.3, 0.8))
    return question, answer[: max(4, end)].rstrip(' .!?。！？；;\n"”')


def swapped(question: str, _: str, other: str, __: np.random.Generator) -> Pair:
    """The answer to another question."""
    return question, other


def repeated(question: str, answer: str, _: str, chance: np.random.Generator) -> Pair:
    """A phrase that comes again and again."""
    pieces = _pieces(answer, chance)
    start = int(chance.integers(0, max(1, len(pieces) - 4)))
    phrase = _join(pieces[start : start + int(chance.integers(3, 9))], answer)
    gap = "" if _CHINESE.search(answer) else " "
    head = answer[: int(len(answer) * chance.uniform(0, 0.5))]
    return question, head + gap + gap.join([phrase] * int(chance.integers(4, 12)))


def garbled(question: str, answer: str, _: str, chance: np.random.Generator) -> Pair:
    """Read with the wrong encoding, or with characters lost."""
    way = int(chance.integers(3))
    if _CHINESE.search(answer) and way == 0:
        return question, answer.encode().decode("gb18030", "replace")
    if _CHINESE.search(answer) and way == 1:
        return question, answer.encode().decode("latin-1")
    letters = list(answer)
    marks = ("\ufffd", "Ã©", "â€™", "ï»¿", "锟斤拷", "&#x27;", "\\u00")
    for at in chance.integers(0, len(letters), max(2, len(letters) // 25)):
        letters[at] = marks[int(chance.integers(len(marks)))]
    return question, "".join(letters)


def boilerplate(question: str, answer: str, _: str, chance: np.random.Generator) -> Pair:
    """What pages and programs say beside the matter, with or without a rest of it."""
    known = _BOILERPLATE_ZH if _CHINESE.search(answer) else _BOILERPLATE_EN
    first, second = (known[int(at)] for at in chance.integers(0, len(known), 2))
    rest = answer[: int(len(answer) * chance.uniform(0, 0.3))]
    return question, "\n".join(filter(None, (first, rest, second)))


def mistyped(question: str, answer: str, _: str, chance: np.random.Generator) -> Pair:
    """One character in eight lost, doubled or exchanged with its neighbour."""
    letters = list(answer)
    for at in chance.integers(0, max(1, len(letters) - 1), max(3, len(letters) // 8)):
        way = int(chance.integers(3))
        if way == 0:
            letters[at] = ""
        elif way == 1:
            letters[at] *= 2
        elif at + 1 < len(letters):
            letters[at], letters[at + 1] = letters[at + 1], letters[at]
    return question, "".join(letters)


def echoed(question: str, answer: str, _: str, chance: np.random.Generator) -> Pair:
    """The question once more, and hardly anything else."""
    rest = answer[: int(len(answer) * chance.uniform(0, 0.15))]
    return question, f"{question} {rest}".strip()


CORRUPTIONS: dict[str, Corrupt] = {
    "shuffled": shuffled,
    "cut": cut,
    "swapped": swapped,
    "repeated": repeated,
    "garbled": garbled,
    "boilerplate": boilerplate,
    "mistyped": mistyped,
    "echoed": echoed,
}


def _pieces(text: str, chance: np.random.Generator) -> list[str]:
    if not _CHINESE.search(text):
        return text.split()
    pieces: list[str] = []
    start = 0
    while start < len(text):
        end = start + int(chance.integers(1, 4))
        pieces.append(text[start:end])
        start = end
    return pieces


def _join(pieces: list[str], like: str) -> str:
    return ("" if _CHINESE.search(like) else " ").join(pieces)
