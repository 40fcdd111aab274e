#include "coordinator/coordinator_daemon.h"

int main(int argc, char **argv)
{
	return daemon_main(argc, argv, &coordinator_daemon_spec);
}
