"""Names in twelve scripts, and one in none, as people write them; none holds a character that is refused."""

NAMES = {
    "japanese": "山田 太郎",
    "chinese": "王小明的貓",
    "korean": "김민준",
    "hindi": "अदिति शर्मा",
    "bengali": "শ্রাবণী দত্ত",
    "tamil": "கவிதா சுப்ரமணியம்",
    "thai": "สมชาย ใจดี",
    "persian": "علی‌رضا می‌خواهم",
    "hebrew": "שָׁלוֹם כהן",
    "greek": "Γιώργος Παπαδόπουλος",
    "cyrillic": "Олександра Їжак",
    "latin": "Zoë O'Neill-Núñez",
    "emoji": "👩‍👩‍👧‍👦 Ann 🏳️‍🌈",
}
