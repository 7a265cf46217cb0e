"""The business of the community: what may be made, shown, liked and spent, and who may know of it."""
