"""The rules of the community: which artworks may be ordered, shown and liked, by whom, and for how many credits."""
