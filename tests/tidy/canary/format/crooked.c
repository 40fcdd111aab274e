// Not formatted: the format gate must refuse it.
int   crooked( int a ){return a ;}
