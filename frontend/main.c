#include "frontend/frontend_daemon.h"

int main(int argc, char **argv)
{
	return daemon_main(argc, argv, &frontend_daemon_spec);
}
