"""The list: a score for every customer of an AS_OF, as rows of scores.customers and as files."""
