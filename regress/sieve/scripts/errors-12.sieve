frobnicate { nonsense; }
