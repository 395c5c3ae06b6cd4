"""Personal data in texts: telephone numbers, e-mail and IP addresses, identity and card numbers.

Each `find_...` returns where the first one lies. Numbers must look right in full - digits at both
ends, a valid check digit where one exists - since any long number in a text would match otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

Span = tuple[int, int]

# A superset of each finding, for RE2: what it does not match holds nothing.
NUMBER_LIKE = r"[0-9](?:[ .()-]{0,2}[0-9]){7}|[\x{ff10}-\x{ff19}]{7}|[A-Z][0-9]{6}[(（0-9]"
# What is left of it for one of the findings: looked for only where the above was found.
CARD_LIKE = r"[0-9](?:[ -]?[0-9]){12}|[\x{ff10}-\x{ff19}]{7}"
ID_LIKE = (
    r"[0-9]{17}|[0-9]{3}-[0-9]{2}-[0-9]{4}|[\x{ff10}-\x{ff19}]{7}|[A-Z][0-9]{6}"
    r"|[A-Z]{2}[0-9]{2} ?[0-9A-Z]{4}|NHS|(?i:passport|aadhaar)|护照"
)
EMAIL_LIKE = r"[A-Za-z0-9_+-]@[A-Za-z0-9]"
ADDRESS_LIKE = r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]"

_MOBILE = r"(?:(?:\+|00)86[ -]{0,2})?1[3-9]\d(?P<gap>[ -]?)\d{4}(?P=gap)\d{4}"
_AREA = r"(?:010|02[0-57-9]|0[3-9]\d\d)"
_LANDLINE = (
    r"0[1-9]\d{1,2}-[2-9]\d{6,7}"
    rf"|(?:\({_AREA}\) ?|{_AREA} )[2-9]\d{{2,3}}[ -]?\d{{4}}"
)
_INTERNATIONAL = r"\+[1-9]\d{0,2}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d(?:[ .-]?\d){5,12}"
_AMERICAN = r"(?:\([2-9]\d\d\) ?|[2-9]\d\d[-.])[2-9]\d\d[-.]\d{4}"
_PHONE = re.compile(
    rf"(?<![0-9A-Za-z_.+-])(?:{_MOBILE}|{_LANDLINE}|{_INTERNATIONAL}|{_AMERICAN})(?![0-9A-Za-z_-]|\.\d)",
    re.ASCII,
)
_RESIDENT_ID = re.compile(
    r"(?<![0-9A-Za-z])[1-9]\d{5}(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx]"
    r"(?![0-9A-Za-z])",
    re.ASCII,
)
_SOCIAL_SECURITY = re.compile(
    r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\w-])", re.ASCII
)
_CARD = re.compile(
    r"(?<![0-9A-Za-z_.-])(?:\d{13,19}|\d{4}(?P<gap>[ -])\d{4}(?P=gap)\d{4}(?P=gap)\d{1,7}"
    r"|\d{4}(?P<gap6>[ -])\d{6}(?P=gap6)\d{4,5})(?![0-9A-Za-z_-])",
    re.ASCII,
)
# Digits with little between them, to which the patterns above are held; and what may follow that
# decides whether a number has ended.
_CLUSTER = re.compile(r"[+(\d][\d ().+-]{6,}[\dXx]", re.ASCII)
_BEHIND = 4
_WIDE = re.compile("[\uff10-\uff19]")
_NARROW = {0xFF10 + digit: str(digit) for digit in range(10)}
_EMAIL_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._%+-]*[A-Za-z0-9_+-])?$")
_EMAIL_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}(?![A-Za-z0-9])"
)
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_ADDRESS = re.compile(
    rf"(?<![\w.-])(?<![A-Za-z]/)(?:{_OCTET}\.){{3}}{_OCTET}(?!\.?[\w-]|/\d)", re.ASCII
)

_PROVINCES = frozenset(
    number
    for first, last in ((11, 15), (21, 23), (31, 37), (41, 46), (50, 54), (61, 65), (81, 83))
    for number in range(first, last + 1)
) | {71, 91}
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
# Printed in leaflets and films; they belong to nobody.
_SPECIMENS = frozenset({"078-05-1120", "219-09-9999", "123-45-6789", "111-11-1111"})
_RESERVED_DOMAINS = ("example", "test", "invalid", "localhost", "local")
_NAMES_OF_NOBODY = frozenset({"example", "domain", "yourdomain", "company", "yourcompany"})
_NOBODY = frozenset({"git", "noreply", "no-reply", "donotreply", "do-not-reply"})
_OPEN_RESOLVERS = frozenset({"8.8.8.8", "8.8.4.4", "1.1.1.1", "114.114.114.114", "223.5.5.5"})


def find_phone(text: str) -> Span | None:
    """Mobile and fixed-line numbers of China and the USA, and any in international form."""
    return _first(_PHONE, text, _is_dialled)


def find_email(text: str) -> Span | None:
    """Addresses of people; those of example.com, git@ and noreply@ belong to none."""
    place = text.find("@")
    while place >= 0:
        name = _EMAIL_NAME.search(_last_word(text, place))
        domain = _EMAIL_DOMAIN.match(text, place + 1, place + 256)
        if name and domain and _is_mailbox(name[0].lower(), domain[0].lower()):
            return place - len(name[0]), domain.end()
        place = text.find("@", place + 1)
    return None


def find_id_number(text: str) -> Span | None:
    """Identity numbers of China, Hong Kong and Taiwan and IBANs with valid check digits.

    US social security numbers have none; numbers of passports, of the British NHS and of Aadhaar
    are found behind their names.
    """
    resident = _first(_RESIDENT_ID, text, is_resident_id)
    american = resident or _first(_SOCIAL_SECURITY, text, lambda n: n not in _SPECIMENS)
    return american or _find_lettered(text)


def _find_lettered(text: str) -> Span | None:
    text = _narrow(text)
    for pattern, is_real in _LETTERED:
        for found in pattern.finditer(text):
            if is_real(found["number"]):
                return found.span("number")
    return None


def _is_hong_kong(number: str) -> bool:
    """The digit in brackets checks; a single letter has a blank before it, which counts 36."""
    letters = number[: 1 + number[1].isalpha()]
    values = [36] * (2 - len(letters)) + [ord(letter) - 55 for letter in letters]
    digits = [int(digit) for digit in number[len(letters) : len(letters) + 6]]
    total = sum(v * w for v, w in zip([*values, *digits], range(9, 1, -1), strict=True))
    return "0123456789A"[-total % 11] == number[len(letters) + 7]


def _is_taiwan(number: str) -> bool:
    """The letter stands for two digits; all nine others have weights from 9 down."""
    letter = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(number[0]) + 10
    weighted = zip(number[1:9], range(8, 0, -1), strict=True)
    total = letter // 10 + letter % 10 * 9 + sum(int(d) * w for d, w in weighted)
    return (total + int(number[9])) % 10 == 0 and len(set(number[1:])) > 2


def _is_iban(number: str) -> bool:
    plain = number.replace(" ", "")
    turned = plain[4:] + plain[:4]
    return 15 <= len(plain) <= 34 and int("".join(str(int(c, 36)) for c in turned)) % 97 == 1


def _is_nhs(number: str) -> bool:
    digits = [int(char) for char in number if char.isdigit()]
    total = sum(d * w for d, w in zip(digits[:9], range(10, 1, -1), strict=True))
    return -total % 11 == digits[9]


_LETTERED: tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...] = (
    (
        re.compile(r"(?<![0-9A-Za-z])(?P<number>[A-Z]{1,2}\d{6}[(（][\dA][)）])", re.ASCII),
        _is_hong_kong,
    ),
    (
        re.compile(r"(?<![0-9A-Za-z])(?P<number>[A-Z][12]\d{8})(?![0-9A-Za-z])", re.ASCII),
        _is_taiwan,
    ),
    (
        re.compile(
            r"(?<![0-9A-Za-z])(?P<number>[A-Z]{2}\d\d(?:[A-Z0-9]{11,30}"
            r"|(?: [A-Z0-9]{4}){2,7}(?: [A-Z0-9]{1,3})?))(?![0-9A-Za-z])",
            re.ASCII,
        ),
        _is_iban,
    ),
    (
        re.compile(
            r"(?:(?i:passport)|护照)[^\n\d]{0,16}?(?<![0-9A-Za-z])"
            r"(?P<number>[A-Z]{1,2}\d{7,8})(?![0-9A-Za-z])"
        ),
        lambda number: len(set(number)) > 3,
    ),
    (
        re.compile(r"NHS[^\n\d]{0,20}(?P<number>\d{3} ?\d{3} ?\d{4})(?!\d)", re.ASCII),
        _is_nhs,
    ),
    (
        re.compile(r"(?i:aadhaar)[^\n\d]{0,20}(?P<number>[2-9]\d{3} ?\d{4} ?\d{4})(?!\d)"),
        lambda number: len(set(number)) > 3,
    ),
)


def find_bank_card(text: str) -> Span | None:
    """Card numbers with a known issuer prefix, the right length and a valid check digit."""
    return _first(_CARD, text, lambda found: is_card(re.sub("[ -]", "", found)))


def find_ip(text: str) -> Span | None:
    """Public IPv4 addresses; version and section numbers such as 1.2.3.4 are none."""
    return _first(_ADDRESS, text, _is_public)


def is_resident_id(number: str) -> bool:
    """True for 18 characters whose province exists and whose last one is the check digit."""
    if int(number[:2]) not in _PROVINCES:
        return False
    total = sum(int(digit) * weight for digit, weight in zip(number[:17], _ID_WEIGHTS, strict=True))
    return "10X98765432"[total % 11] == number[17].upper()


def is_card(digits: str) -> bool:
    """True for a number that an issuer could have printed on a card."""
    return _is_issued(digits) and len(set(digits)) > 1 and _luhn(digits) and not _is_id(digits)


def _first(pattern: re.Pattern[str], text: str, is_real: Callable[[str], bool]) -> Span | None:
    return next((match.span() for match in _matches(pattern, text) if is_real(match[0])), None)


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    text = _narrow(text)
    for cluster in _CLUSTER.finditer(text):
        yield from pattern.finditer(text, cluster.start(), cluster.end() + _BEHIND)


def _narrow(text: str) -> str:
    """Digits of full width as usual ones, each at its place."""
    return text.translate(_NARROW) if _WIDE.search(text) else text


def _is_dialled(found: str) -> bool:
    """False for round figures, and for 555, the exchange of numbers in films."""
    digits = re.sub(r"\D", "", found).removeprefix("00")
    if not 8 <= len(digits) <= 13 or digits.endswith("00000") or len(set(digits[-8:])) == 1:
        return False
    american = digits[-10:] if len(digits) == 10 or found.startswith("+1") else ""
    return "555" not in (american[:3], american[3:6])


def _last_word(text: str, end: int) -> str:
    """What stands before `end`, as far as the name of a mailbox may reach."""
    return text[max(0, end - 64) : end]


def _is_mailbox(name: str, domain: str) -> bool:
    labels = domain.split(".")
    reserved = labels[-1] in _RESERVED_DOMAINS or labels[-2] in _NAMES_OF_NOBODY
    return not reserved and name not in _NOBODY


def _is_id(digits: str) -> bool:
    return bool(_RESIDENT_ID.fullmatch(digits)) and is_resident_id(digits)


def _is_issued(digits: str) -> bool:
    length, two, four = len(digits), int(digits[:2]), int(digits[:4])
    if digits[0] == "4":
        return length in (16, 19)
    if two == 62:
        return 16 <= length <= 19
    if two in (34, 37):
        return length == 15
    if two in (36, 38, 39):
        return length == 14
    mastercard = 51 <= two <= 55 or 2221 <= four <= 2720
    return length == 16 and (mastercard or four == 6011 or two == 65 or 3528 <= four <= 3589)


def _luhn(digits: str) -> bool:
    """The check digit of cards: from the right, every second digit counts twice."""
    values = [int(digit) for digit in reversed(digits)]
    doubled = [2 * value - 9 * (value > 4) for value in values[1::2]]
    return (sum(values[::2]) + sum(doubled)) % 10 == 0


def _is_public(address: str) -> bool:
    first, second, third, last = octets = [int(part) for part in address.split(".")]
    private = first in (0, 10, 127) or (first, second) in ((192, 168), (169, 254))
    private |= first == 172 and 16 <= second < 32
    private |= (first, second, third) in ((192, 0, 2), (198, 51, 100), (203, 0, 113))
    # Software and chapters have small numbers; a host seldom has four of them.
    version = max(octets) < 32 or last == 0 or first >= 224
    return not (private or version or address in _OPEN_RESOLVERS)
