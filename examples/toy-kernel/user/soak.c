/* Processes that fork, have threads, install filters, synchronise them, supervise, and get killed, at random. All that
 * matters is that nothing of it is left. Arguments: rounds, and a seed. */
#include "toy.h"

enum { RECV = 0xc0502100, SEND = 0xc0182101, IN = 1, WNOHANG = 1 };

static uint64_t state;
static long killed;

static uint64_t draw(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

static struct thread threads[4];

/* A process whose supervisor is this thread, unless that is killed first. */
static void supervise(void)
{
	uint64_t notif[10] = { 0 };
	long time[2] = { 0, 5000000 };

	long listener = on_call(SYS_getppid, RET_USER_NOTIF, NEW_LISTENER);
	if (listener < 0)
		return;
	long child = fork();
	if (child == 0) {
		/* What it waits for must end with its supervisor. */
		for (long fd = 3; fd < 64; fd++)
			call(SYS_close, fd);
		call(SYS_getppid);
		quit(0);
	}
	struct {
		int fd;
		short events, revents;
	} polled = { (int)listener, IN, 0 };
	call(SYS_ppoll, &polled, 1, time, 0, 8);
	if ((polled.revents & IN) && draw(4)) {
		call(SYS_ioctl, listener, RECV, notif);
		uint64_t response[3] = { notif[0], 5, 0 };
		if (draw(4))
			call(SYS_ioctl, listener, SEND, response);
	}
	call(SYS_close, listener);
	call(SYS_kill, child, draw(3) ? SIGUSR1 : SIGKILL);
	if (child > 0)
		wait_for(child);
}

static void handler(int signal, struct siginfo *info, uint64_t *context)
{
}

static void process(int depth);

static void act(int depth)
{
	switch (draw(16)) {
	case 0:
	case 1:
		on_call(SYS_getuid, RET_ERRNO | 1, 0);
		break;
	case 2:
	case 3:
		on_call(SYS_getuid, RET_ERRNO | 2, TSYNC | (draw(2) ? TSYNC_ESRCH : 0));
		break;
	case 4:
		on_call(SYS_getuid, RET_TRAP, 0);
		break;
	case 5:
	case 6:
		for (int i = 0; i < 10; i++)
			call(SYS_getuid);
		break;
	case 7:
	case 8:
		if (depth < 2) {
			long child = fork();
			if (child == 0) {
				process(depth + 1);
				quit(0);
			}
			if (child > 0)
				wait_for(child);
		}
		break;
	case 9:
		if (depth == 0)
			supervise();
		break;
	case 10: {
		long memory = call(SYS_mmap, 0, 40960, 3, 0x22, -1, 0);
		if (draw(2))
			call(SYS_munmap, memory, 40960);
		break;
	}
	case 11:
		pause_for(1);
		break;
	case 12:
		call(SYS_kill, call(SYS_getpid), SIGUSR1);
		break;
	case 13:
		if (!draw(4)) {
			on_call(SYS_getuid, draw(2) ? RET_KILL_THREAD : RET_KILL_PROCESS, 0);
			call(SYS_getuid);
		}
		break;
	case 14:
		if (!draw(4)) {
			call(SYS_prctl, PR_SET_SECCOMP, 1);
			call(draw(2) ? SYS_exit : SYS_getpid, 0);
		}
		break;
	default:
		call(SYS_sched_yield);
	}
}

static void work(void *depth)
{
	for (int i = 0; i < 6; i++)
		act((int)(long)depth);
}

/* Shares `state` with its threads, which draw in whatever order they run. */
static void process(int depth)
{
	handle(SIGUSR1, handler, draw(2) ? SA_RESTART : 0);
	handle(SIGSYS, handler, 0);
	if (draw(2))
		no_new_privs();
	uint64_t count = draw(4);
	for (uint64_t i = 0; i < count; i++)
		start(&threads[i], work, (void *)(long)depth);
	work((void *)(long)depth);
	if (draw(2))
		for (uint64_t i = 0; i < count; i++)
			join(&threads[i]);
}

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? number(argv[1]) : 10;

	state = (argc > 2 ? (uint64_t)number(argv[2]) : 0) * 2 + 1;
	for (int i = 0; i < 20; i++)
		draw(1);
	for (long round = 0; round < rounds; round++) {
		long child = fork();
		if (child == 0) {
			process(0);
			quit(0);
		}
		draw(1);
		long patience = draw(3) ? 50 : (long)draw(8);
		int status = -1;
		while (call(SYS_wait4, child, &status, WNOHANG, 0) == 0) {
			if (patience-- > 0) {
				pause_for(1);
				continue;
			}
			killed++;
			call(SYS_kill, child, SIGKILL);
			wait_for(child);
			break;
		}
	}
	print("%d rounds, %d ended by force\n", rounds, killed);
	return 0;
}
