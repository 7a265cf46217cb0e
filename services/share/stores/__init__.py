"""The share stores: shares and their counts in SQL, and a cache in front of them."""
