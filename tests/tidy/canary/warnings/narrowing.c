// Narrows without a cast: the warnings gate must refuse it.
unsigned char narrow(long value);
unsigned char narrow(long value)
{
	return value;
}
