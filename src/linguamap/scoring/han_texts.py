"""Japanese, Chinese or Cantonese: texts in Han characters, kana or both, told apart by signs.

Kana mean Japanese unless they are a name in a Chinese sentence. Without kana, signs that only one of the two
writes decide: Japanese forms of characters and weekdays against Chinese function words and forms.
A few characters without any such sign (a name, a date) are right in both languages.
"""

from __future__ import annotations

import regex

LEAST_KANA_SHARE = 0.1
"""Of the letters; below it, kana are a name inside another language's text."""

SHORT_TEXT = 8
"""Up to so many Han characters may stand without kana in Japanese: names, dates, headings."""

_HAN_OR_KANA = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}ー]")
_KANA = regex.compile(r"[\p{Hiragana}\p{Katakana}ー]")
_LETTER = regex.compile(r"\p{L}")

JAPANESE_SIGNS = frozenset(
    "曜歳実毎対権巻関発売収総価処働絵値変黒払気経産歩帰々両増緑焼続遅応択辺伝転戦読単軽検験隠"
    "従様広団悪姉芸児図徴徳込楽拡圧挙険拠撃戻薬録円囲頼脳仮厳帯弾娘専臓隣鶏鉄覚撮浜陥歯渋粋継"
    "覧豊釈聴訳奨竜蔵顔駆寛枠沢犠縄拝畑県駅黙揺瀬獣縦茎郷酔銭顕騒"
)
"""Characters of everyday Japanese that no sort of Chinese writes, or hardly ever."""

CHINESE_SIGNS = frozenset(
    "每为个總这时她们于其鐘么对數什斯這顆們些发后吃尔种學动哪现或會卡过间德机它员但并此收经进"
    "克亚从开关條看價剩拉蛋已狗還权隻只该没两马还兩问约说业统孩计尼义应实论你做题长认议很歲场"
    "找变产增乘无电类兰据选磅项队样组总达车设怡务联來游结导值罗雅领份洲维给佳單资运齡则气內裡"
    "售标賺翰确麼决柏點战斤许錢质婷术传师朋处巴几价东报规买寓诺赛级观图带证篇掉汽谁查线构纪訂"
    "语餘单响才别碼获效廷费转梯让坐视军另际寫请六於股节宏广离纳處拿济药门书卫套藍网况步头强欣"
    "芬鎬顏傑创张紅准礦乐畢當复职玩班风户环缺"
)
"""Characters of everyday Chinese, simplified or not, that Japanese writes otherwise or hardly ever."""

_CANTONESE = regex.compile(
    r"[嘅咗喺唔佢哋啲嗰冇嘢噉咁嚟咩喎攞嗌瞓揾]|仲有|入面|點解|而家|係咪|邊個|睇住"
)
CHARACTERS_A_SIGN = 15
"""A text is Cantonese with one of its signs in so many characters."""

_CHINESE_WORDS = frozenset("的是")
_COUNTED = frozenset("〇零一二三四五六七八九十百千万年月日時分")
"""Numbers and dates look the same in both."""


def han_language(text: str, asked: str | None) -> str | None:
    """``ja``, ``zh`` or ``yue`` for a text mainly in Han characters or kana; None if it is not, or may be another.

    Args:
        asked: ``ja`` settles what would be right in both.
    """
    letters = _LETTER.findall(text)
    own = _HAN_OR_KANA.findall(text)
    if not own or len(own) * 2 < len(letters):
        return None
    kana = len(_KANA.findall(text))
    japanese = sum(sign in JAPANESE_SIGNS for sign in own)
    chinese = sum(sign in CHINESE_SIGNS or sign in _CHINESE_WORDS for sign in own)
    if len(_CANTONESE.findall(text)) * CHARACTERS_A_SIGN >= len(own):
        return "yue"
    if kana >= LEAST_KANA_SHARE * len(own):
        return "ja" if kana > 2 * chinese else "zh" if chinese > japanese + 1 else None
    if japanese > chinese:
        return "ja"
    if asked == "ja" and not chinese and sum(sign not in _COUNTED for sign in own) <= SHORT_TEXT:
        return "ja"
    return None
