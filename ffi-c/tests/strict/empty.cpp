// Nothing: the face is put before it by -include.
