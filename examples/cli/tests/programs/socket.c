/* Prints, makes a socket, prints. Nothing else in it makes one: an interpreter may look up its user at the start,
 * for which glibc tries a socket. */
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
	if (write(1, "before\n", 7) != 7 || socket(AF_UNIX, SOCK_STREAM, 0) < 0 || write(1, "after\n", 6) != 6)
		return 1;
	return 0;
}
