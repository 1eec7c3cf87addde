"""Column names of the tables on disk."""

USER_ID = "user_id"
ITEM_ID = "item_id"
RATING = "rating"
TIMESTAMP = "timestamp"
REVIEW = "review"
SPLIT = "split"
USER = "user"
ITEM = "item"

PARTS = ("train", "valid", "test")
"""Values of the split column."""

TITLE = "title"
BRAND = "brand"
TEXT = (TITLE, BRAND, "categories", "attributes", "description")
"""Item columns that make up an item's text, in reading order."""
