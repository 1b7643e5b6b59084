redirect text:
a
