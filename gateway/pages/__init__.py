"""The built-in web pages: plain HTML from the share service's records, one style sheet, a few small ES modules."""
