"""Personal data: what is found, and - as important - what looks like it and is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.check.personal import (
    Span,
    find_bank_card,
    find_email,
    find_id_number,
    find_ip,
    find_phone,
    is_card,
    is_resident_id,
)

Find = Callable[[str], Span | None]

FOUND: list[tuple[Find, str, str]] = [
    (find_phone, "请拨打13812345678联系我", "13812345678"),
    (find_phone, "手机：138-1234-5678。", "138-1234-5678"),
    (find_phone, "手机 138 1234 5678", "138 1234 5678"),
    (find_phone, "Call +86 13912345670 now", "+86 13912345670"),
    (find_phone, "电话：010-62770334", "010-62770334"),
    (find_phone, "Call me at +44 20 7946 0958.", "+44 20 7946 0958"),
    (find_phone, "tel:+49 (30) 901820, office", "+49 (30) 901820"),
    (find_phone, "my number is (415) 867-5309!", "(415) 867-5309"),
    (find_phone, "my number is 415-867-5309", "415-867-5309"),
    (find_email, "mail john.smith@corp.cn, please", "john.smith@corp.cn"),
    (find_email, "邮箱：zhang_san@163.com。", "zhang_san@163.com"),
    (find_email, "write to a@b.c or to anna+list@mail.co.uk.", "anna+list@mail.co.uk"),
    (find_email, "<o'neil@uni-bonn.de>", "neil@uni-bonn.de"),
    (find_id_number, "身份证号11010519491231002X，", "11010519491231002X"),
    (find_id_number, "身份证号：440308199901101512", "440308199901101512"),
    (find_id_number, "SSN 536-22-8726.", "536-22-8726"),
    (find_phone, "座机 (010)62345678", "(010)62345678"),
    (find_phone, "call 021 6234 5678 now", "021 6234 5678"),
    (find_phone, "0086 139 1234 5678", "0086 139 1234 5678"),
    (find_phone, "１３８１２３４５６７８ 全角", "１３８１２３４５６７８"),
    (find_id_number, "台湾身份证 A123456789", "A123456789"),
    (find_id_number, "香港身份证 A123456(3)", "A123456(3)"),
    (find_id_number, "HKID CA182361(1).", "CA182361(1)"),
    (find_id_number, "IBAN DE89 3704 0044 0532 0130 00 pay", "DE89 3704 0044 0532 0130 00"),
    (find_id_number, "pay to DE89370400440532013000", "DE89370400440532013000"),
    (find_id_number, "护照 E12345678", "E12345678"),
    (find_id_number, "My passport number is X1234567.", "X1234567"),
    (find_id_number, "My NHS number is 943 476 5919", "943 476 5919"),
    (find_id_number, "Aadhaar 2345 6789 0124", "2345 6789 0124"),
    (find_bank_card, "card 4111 1111 1111 1111, exp 12/30", "4111 1111 1111 1111"),
    (find_bank_card, "卡号6222021234567890128", "6222021234567890128"),
    (find_bank_card, "5500-0055-5555-5559", "5500-0055-5555-5559"),
    (find_bank_card, "amex 378282246310005", "378282246310005"),
    (find_bank_card, "amex 3782 822463 10005", "3782 822463 10005"),
    (find_ip, "login from 52.94.236.248 failed", "52.94.236.248"),
    (find_ip, "http://52.94.236.248:8080/", "52.94.236.248"),
    (find_ip, "来自202.112.0.36的请求", "202.112.0.36"),
]

ORDINARY: list[tuple[Find, str]] = [
    (find_phone, "Order 20231231123456 was shipped."),
    (find_phone, "The timestamp 1609459200000 is in milliseconds."),
    (find_phone, "The sun is 15000000000 cm away, or 13812345678.5 units"),
    (find_phone, "hash a13812345678f and id_13812345678"),
    (find_phone, "From 1998-2000 and 2001-2005, pages 100-2000"),
    (find_phone, "2023-01-01 12:30:45 and 2024-12-31 23:59:59"),
    (find_phone, "Call (555) 123-4567 or 555-555-5555 or +1 (212) 555-0123"),
    (find_phone, "3.1415926535897932384626 is pi"),
    (find_phone, "x = 5 +3 and y +12 = 30"),
    (find_phone, "ISBN 978-3-16-148410-0"),
    (find_phone, "The population is 1,412,600,000; GDP $17,963,171,000,000."),
    (find_email, "boss@company.com, user@example.com or info@mail.example.org"),
    (find_email, "git@github.com:user/repo.git and noreply@corp.cn"),
    (find_email, "@dataclass\nclass A: ... # see @property"),
    (find_email, "a @ b, x@y and 5 @ 3.00"),
    (find_email, "pip install pkg@1.2.3"),
    (find_id_number, "身份证号110105194912310021"),
    (find_id_number, "流水号440308199913101512 与 990308199901101512"),
    (find_id_number, "The sample SSN 123-45-6789, 000-12-3456, 666-12-3456, 912-12-3456"),
    (find_id_number, "on 2023-10-12, part 123-45-67890"),
    (find_phone, "rows 021 345 67 and 010 1111 2222, 045 678 9012 3"),
    (find_id_number, "part A123456788, HKID A123456(4), IBAN DE88370400440532013000"),
    (find_id_number, "NHS since 1948 and 943 476 5918, model X1234567, passport office 12345678"),
    (find_id_number, "ISBN 9783161484100, SKU AB12CDEF34567890, hash DE89 ABCD EFGH"),
    (find_bank_card, "card 4111 1111 1111 1112"),
    (find_bank_card, "1234 5678 9012 3456 and 0000 0000 0000 0000"),
    (find_bank_card, "The number 1609459200000 is 13 digits, 2^64 = 18446744073709551616"),
    (find_bank_card, "The result is 4212883012996"),
    (find_phone, "472547338 +960397912423686"),
    (find_bank_card, "0.4111111111111111"),
    (find_ip, "version 1.2.3.4 and section 4.1.2.3"),
    (find_ip, "127.0.0.1, 10.0.0.12, 192.168.1.1, 172.16.5.40, 0.0.0.0, 255.255.255.0"),
    (find_ip, "Chrome/120.0.0.0 Safari/537.36 and Mozilla/5.0"),
    (find_ip, "256.300.1.1 and 1.2.3.4.5"),
    (find_ip, "DNS 8.8.8.8, documentation 203.0.113.77, network 52.94.236.0/24"),
]


@pytest.mark.parametrize(("find", "text", "expected"), FOUND)
def test_personal_data_is_found(find: Find, text: str, expected: str) -> None:
    span = find(text)
    assert span is not None
    assert text[slice(*span)] == expected


@pytest.mark.parametrize(("find", "text"), ORDINARY)
def test_ordinary_numbers_and_words_are_left_alone(find: Find, text: str) -> None:
    span = find(text)
    assert span is None or text[slice(*span)] == ""


@given(st.text("0123456789 -+().@aXx电话\n", max_size=60))
def test_whatever_is_found_lies_within_the_text(text: str) -> None:
    for find in (find_phone, find_email, find_id_number, find_bank_card, find_ip):
        span = find(text)
        assert span is None or 0 <= span[0] < span[1] <= len(text)


@given(st.integers(0, 10**9 - 1), st.integers(0, 9))
def test_one_wrong_digit_makes_a_card_invalid(body: int, wrong: int) -> None:
    digits = f"412345{body:09d}"
    valid = [digit for digit in "0123456789" if is_card(digits + digit)]
    assert len(valid) == 1
    assert is_card(digits + str(wrong)) == (str(wrong) == valid[0])


@given(st.integers(0, 999))
def test_each_identity_number_has_one_check_digit(order: int) -> None:
    number = f"11010519491231{order:03d}"
    assert sum(is_resident_id(number + last) for last in "0123456789X") == 1
