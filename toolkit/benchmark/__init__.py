"""How fast this toolkit is here, and how fast what people would pick instead: the same reviews, in turn, in one run."""
