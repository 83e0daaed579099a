"""The pool as a whole: who is in it twice, who trains, what it is called, what it holds."""
