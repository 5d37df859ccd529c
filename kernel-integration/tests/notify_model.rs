//! Every interleaving of targets and supervisors over one lock, up to a number of preemptions that
//! `SECCOMP_NOTIFY_PREEMPTIONS` sets: a thread that sleeps for ever is a deadlock, which the model reports, and
//! each case says which ends there may be.
//!
//! The glue is what a kernel would write: a wait queue for each target, one for supervisors, wakes after the
//! lock is released.

use std::env;
use std::ops::{Deref, DerefMut};

use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
use loom::thread;
use seccomp_kernel::notify::*;
use seccomp_kernel::runtime::SeccompData;

const FIRST: Id = Id(0);
const ENOSYS: Reply = Reply::Return(-38);
const LOWEST: FdPlace = FdPlace { newfd: None, close_on_exec: false };

/// A file, and whether the target can install it.
type File = Result<u32, Errno>;

/// Who sleeps: targets first, then supervisors.
#[derive(Clone, Copy)]
enum Who {
    Target(usize),
    Supervisor(usize),
}

struct Listener {
    world: Mutex<World>,
    targets: [Condvar; 2],
    supervisors: Condvar,
}

struct World {
    state: Notifications<usize, File>,
    /// What was sent to targets and to supervisors, and not seen yet.
    signals: [[Option<Interrupt>; 2]; 2],
    /// Descriptors of the listener.
    descriptors: u32,
}

impl Deref for World {
    type Target = Notifications<usize, File>;

    fn deref(&self) -> &Self::Target {
        &self.state
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.state
    }
}

/// How a call of a target ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Answered(Reply),
    Interrupted,
    NotListening,
}

impl Listener {
    fn new(wait_killable: bool, descriptors: u32) -> Arc<Self> {
        let state = Notifications::new(FIRST, wait_killable);
        Arc::new(Self {
            world: Mutex::new(World { state, signals: [[None; 2]; 2], descriptors }),
            targets: [Condvar::new(), Condvar::new()],
            supervisors: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    fn wake(&self, world: MutexGuard<'_, World>, wake: Wake) {
        let targets: Vec<usize> = world.woken(wake).copied().collect();
        drop(world);
        targets.iter().for_each(|target| self.targets[*target].notify_one());
        if wake.supervisors || !wake.events.is_empty() {
            self.supervisors.notify_all();
        }
    }

    /// A signal stays pending until the call is over, as it does until it is handled.
    fn sleep<'l>(
        &self,
        mut world: MutexGuard<'l, World>,
        who: Who,
        wait: Wait,
    ) -> (MutexGuard<'l, World>, Option<Interrupt>) {
        let pending = |world: &World| {
            let signal = match who {
                Who::Target(at) => world.signals[0][at],
                Who::Supervisor(at) => world.signals[1][at],
            };
            signal.filter(|signal| match wait {
                Wait::Interruptible => true,
                Wait::Killable => *signal == Interrupt::Fatal,
                Wait::Uninterruptible => false,
            })
        };
        if pending(&world).is_none() {
            let queue = match who {
                Who::Target(at) => &self.targets[at],
                Who::Supervisor(_) => &self.supervisors,
            };
            world = queue.wait(world).unwrap();
        }
        let interrupt = pending(&world);
        (world, interrupt)
    }

    fn signal(&self, who: Who, interrupt: Interrupt) {
        let mut world = self.lock();
        match who {
            Who::Target(at) => {
                world.signals[0][at] = Some(interrupt);
                drop(world);
                self.targets[at].notify_one();
            }
            Who::Supervisor(at) => {
                world.signals[1][at] = Some(interrupt);
                drop(world);
                self.supervisors.notify_all();
            }
        }
    }

    /// One call of a target. A restarted one is another.
    fn call(&self, target: usize) -> End {
        let mut world = self.lock();
        let (id, wake) = match world.request(target, SeccompData::default()) {
            Ok(request) => request,
            Err(RequestError::NotListening) => return End::NotListening,
            Err(RequestError::OutOfMemory) => unreachable!(),
        };
        self.wake(world, wake);
        world = self.lock();
        loop {
            match world.next(id) {
                Next::Return(reply) => return End::Answered(reply),
                Next::Wait(wait) => {
                    let interrupt;
                    (world, interrupt) = self.sleep(world, Who::Target(target), wait);
                    if interrupt.is_some_and(|interrupt| world.interrupt(id, interrupt)) {
                        world.signals[0][target] = None;
                        return End::Interrupted;
                    }
                }
                Next::Install(file, _) => {
                    drop(world);
                    world = self.lock();
                    let wake = world.fd_installed(id, file);
                    self.wake(world, wake);
                    world = self.lock();
                }
            }
        }
    }

    fn call_until_answered(&self, target: usize) -> End {
        loop {
            match self.call(target) {
                End::Interrupted => {}
                end => return end,
            }
        }
    }

    fn receive(&self, supervisor: usize) -> Result<Id, Errno> {
        let mut world = self.lock();
        loop {
            if let Some((received, wake)) = world.receive()? {
                let id = received.id;
                self.wake(world, wake);
                return Ok(id);
            }
            let interrupt;
            (world, interrupt) = self.sleep(world, Who::Supervisor(supervisor), Wait::Interruptible);
            if interrupt.is_some() {
                return Err(Errno::ERESTARTSYS);
            }
        }
    }

    /// RECV into memory that is not there.
    fn receive_badly(&self, supervisor: usize) -> Result<Id, Errno> {
        let id = self.receive(supervisor)?;
        let mut world = self.lock();
        let wake = world.receive_failed(id);
        self.wake(world, wake);
        Ok(id)
    }

    fn send(&self, id: Id, reply: Reply) -> Result<(), Errno> {
        let mut world = self.lock();
        let wake = world.send(Response { id, reply })?;
        self.wake(world, wake);
        Ok(())
    }

    fn add_fd(&self, supervisor: usize, id: Id, send: bool, file: File) -> Result<u32, Errno> {
        let mut world = self.lock();
        let add_fd = AddFd { id, srcfd: 0, at: LOWEST, send };
        let (ticket, wake) = world.add_fd(add_fd, file).map_err(|refused| refused.error)?;
        self.wake(world, wake);
        world = self.lock();
        loop {
            match world.fd_progress(ticket) {
                FdProgress::Installed(fd) => return fd,
                FdProgress::TargetGone(_) => return Err(Errno::ESRCH),
                FdProgress::Wait(wait) => {
                    let interrupt;
                    (world, interrupt) = self.sleep(world, Who::Supervisor(supervisor), wait);
                    if interrupt.is_some() && world.cancel_fd(ticket).is_some() {
                        return Err(Errno::ERESTARTSYS);
                    }
                }
            }
        }
    }

    /// Sleeps in poll.
    fn poll(&self, supervisor: usize, events: Poll) -> Poll {
        let mut world = self.lock();
        loop {
            let found = world.poll() & (events | Poll::HUP);
            if !found.is_empty() {
                return found;
            }
            (world, _) = self.sleep(world, Who::Supervisor(supervisor), Wait::Uninterruptible);
        }
    }

    /// Gives up a descriptor of the listener.
    fn close(&self) {
        let mut world = self.lock();
        world.descriptors -= 1;
        if world.descriptors == 0 {
            let wake = world.close();
            self.wake(world, wake);
        }
    }

    /// The last thread of the filter is gone.
    fn users_gone(&self) {
        let mut world = self.lock();
        let wake = world.users_gone();
        self.wake(world, wake);
    }
}

/// Runs `case` in every interleaving.
fn check(case: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    let preemptions = env::var("SECCOMP_NOTIFY_PREEMPTIONS").map_or(2, |n| n.parse().expect("a number"));
    model.preemption_bound = Some(preemptions);
    model.max_branches = 10_000;
    model.check(case);
}

/// Runs `f` with the listener on a thread of its own.
fn spawn<R: Send + 'static>(
    listener: &Arc<Listener>,
    f: impl FnOnce(&Listener) -> R + Send + 'static,
) -> thread::JoinHandle<R> {
    let listener = Arc::clone(listener);
    thread::spawn(move || f(&listener))
}

#[test]
fn two_targets_get_their_own_answers() {
    check(|| {
        let listener = Listener::new(false, 1);
        let targets = [0, 1].map(|target| spawn(&listener, move |listener| listener.call(target)));
        for _ in 0..2 {
            let id = listener.receive(0).expect("a request");
            listener.send(id, Reply::Return(id.0 as i64)).expect("it awaits an answer");
        }
        let mut ends = targets.map(|target| target.join().unwrap());
        ends.sort_by_key(|end| *end == End::Answered(Reply::Return(1)));
        assert_eq!(ends, [0, 1].map(|val| End::Answered(Reply::Return(val))));
    });
}

#[test]
fn of_two_answers_one_is_taken() {
    check(|| {
        let listener = Listener::new(false, 2);
        let target = spawn(&listener, |listener| listener.call(0));
        let guesser = spawn(&listener, |listener| listener.send(FIRST, Reply::Return(2)));
        let id = listener.receive(0).expect("a request");
        let told = listener.send(id, Reply::Return(1));
        let guessed = guesser.join().unwrap();
        let taken = match (told, guessed) {
            (Ok(()), Err(Errno::ENOENT | Errno::EINPROGRESS)) => 1,
            (Err(Errno::ENOENT | Errno::EINPROGRESS), Ok(())) => 2,
            ends => panic!("{ends:?}"),
        };
        assert_eq!(target.join().unwrap(), End::Answered(Reply::Return(taken)));
    });
}

#[test]
fn an_answer_to_a_request_that_could_not_be_told_is_not_lost() {
    check(|| {
        let listener = Listener::new(false, 2);
        let target = spawn(&listener, |listener| listener.call(0));
        let guesser = spawn(&listener, |listener| {
            let sent = listener.send(FIRST, Reply::Return(2));
            listener.close();
            sent
        });
        listener.receive_badly(0).expect("a request");
        listener.close();
        let expected = if guesser.join().unwrap().is_ok() { Reply::Return(2) } else { ENOSYS };
        assert_eq!(target.join().unwrap(), End::Answered(expected));
    });
}

#[test]
fn a_request_that_could_not_be_told_is_received_by_another() {
    for wait_killable in [false, true] {
        check(move || {
            let listener = Listener::new(wait_killable, 1);
            let target = spawn(&listener, |listener| {
                let end = listener.call(0);
                listener.users_gone();
                end
            });
            let other = spawn(&listener, |listener| {
                let id = listener.receive(1)?;
                listener.send(id, Reply::Continue)
            });
            let told = listener.receive_badly(0);
            assert!(matches!(told, Ok(FIRST) | Err(Errno::ENOENT)), "{told:?}");
            assert_eq!(other.join().unwrap(), Ok(()));
            assert_eq!(target.join().unwrap(), End::Answered(Reply::Continue));
        });
    }
}

#[test]
fn a_request_that_could_not_be_told_is_interruptible_again() {
    check(|| {
        let listener = Listener::new(true, 1);
        let target = spawn(&listener, |listener| listener.call(0));
        let signal = spawn(&listener, |listener| listener.signal(Who::Target(0), Interrupt::Signal));
        let told = listener.receive_badly(0);
        assert!(matches!(told, Ok(FIRST) | Err(Errno::ENOENT)), "{told:?}");
        signal.join().unwrap();
        assert_eq!(target.join().unwrap(), End::Interrupted);
    });
}

#[test]
fn closing_answers_whoever_waits() {
    check(|| {
        let listener = Listener::new(false, 2);
        let targets = [0, 1].map(|target| spawn(&listener, move |listener| listener.call(target)));
        let closer = spawn(&listener, Listener::close);
        let answered = listener.receive(0).and_then(|id| listener.send(id, Reply::Continue));
        listener.close();
        closer.join().unwrap();
        let ends = targets.map(|target| target.join().unwrap());
        let count = |end| ends.iter().filter(|other| **other == end).count();
        assert_eq!(answered, Ok(()));
        assert_eq!(count(End::Answered(Reply::Continue)), 1);
        assert_eq!(count(End::Answered(ENOSYS)) + count(End::NotListening), 1);
    });
}

#[test]
fn a_signal_loses_no_answer_and_the_restarted_call_is_answered() {
    check(|| {
        let listener = Listener::new(false, 1);
        let target = spawn(&listener, |listener| listener.call_until_answered(0));
        let signal = spawn(&listener, |listener| listener.signal(Who::Target(0), Interrupt::Signal));
        let mut next = 0;
        let answered = loop {
            next += 1;
            // The target may have left early, and its next call comes.
            match listener.receive(0).and_then(|id| listener.send(id, Reply::Return(next)).map(|()| next)) {
                Ok(answered) => break answered,
                Err(errno) => assert_eq!(errno, Errno::ENOENT),
            }
        };
        signal.join().unwrap();
        assert_eq!(target.join().unwrap(), End::Answered(Reply::Return(answered)));
    });
}

#[test]
fn a_received_request_that_waits_killably_outlives_a_signal() {
    check(|| {
        let listener = Listener::new(true, 1);
        let target = spawn(&listener, |listener| listener.call_until_answered(0));
        let signal = spawn(&listener, |listener| listener.signal(Who::Target(0), Interrupt::Signal));
        let id = loop {
            match listener.receive(0) {
                Ok(id) => break id,
                Err(errno) => assert_eq!(errno, Errno::ENOENT),
            }
        };
        assert_eq!(listener.send(id, Reply::Return(1)), Ok(()), "whatever the signal did, this one is here");
        signal.join().unwrap();
        assert_eq!(target.join().unwrap(), End::Answered(Reply::Return(1)));
    });
}

#[test]
fn a_killed_target_leaves_nobody_waiting() {
    for wait_killable in [false, true] {
        check(move || {
            let listener = Listener::new(wait_killable, 1);
            let target = spawn(&listener, |listener| {
                let end = listener.call(0);
                listener.users_gone();
                end
            });
            let kill = spawn(&listener, |listener| listener.signal(Who::Target(0), Interrupt::Fatal));
            let taken = listener.receive(0).and_then(|id| listener.add_fd(0, id, true, Ok(5)));
            kill.join().unwrap();
            match (taken, target.join().unwrap()) {
                (Ok(5), End::Answered(Reply::Return(5))) => {}
                (Err(Errno::ENOENT), End::Interrupted) => {}
                ends => panic!("{ends:?}"),
            }
            assert_eq!(listener.poll(0, Poll::IN), Poll::HUP);
            assert_eq!(listener.receive(0), Err(Errno::ENOENT));
        });
    }
}

#[test]
fn files_are_installed_or_their_supervisors_told() {
    check(|| {
        let listener = Listener::new(false, 2);
        let target = spawn(&listener, |listener| listener.call(0));
        let id = listener.receive(0).expect("a request");
        let other = spawn(&listener, move |listener| listener.add_fd(1, id, false, Ok(6)));
        let third = spawn(&listener, move |listener| listener.add_fd(0, id, false, Err(Errno::EMFILE)));
        assert_eq!(listener.send(id, Reply::Continue), Ok(()));
        let ends = (other.join().unwrap(), third.join().unwrap());
        assert!(
            matches!(ends.0, Ok(6) | Err(Errno::ESRCH | Errno::EINPROGRESS | Errno::ENOENT)),
            "{:?}",
            ends.0
        );
        assert!(
            matches!(ends.1, Err(Errno::EMFILE | Errno::ESRCH | Errno::EINPROGRESS | Errno::ENOENT)),
            "{:?}",
            ends.1
        );
        assert_eq!(target.join().unwrap(), End::Answered(Reply::Continue));
    });
}

#[test]
fn a_file_and_another_answer_exclude_each_other() {
    for file in [Ok(7), Err(Errno::EMFILE)] {
        check(move || {
            let listener = Listener::new(false, 2);
            let target = spawn(&listener, |listener| listener.call(0));
            let id = listener.receive(0).expect("a request");
            let adder = spawn(&listener, move |listener| {
                let added = listener.add_fd(1, id, true, file);
                listener.close();
                added
            });
            let sent = listener.send(id, Reply::Return(1));
            listener.close();
            let expected = match (sent, adder.join().unwrap()) {
                (Ok(()), Err(_)) => Reply::Return(1),
                (Err(_), Ok(7)) => Reply::Return(7),
                // It failed behind the other's back.
                (Err(Errno::EINPROGRESS), Err(Errno::EMFILE)) => ENOSYS,
                ends => panic!("{ends:?}"),
            };
            assert_eq!(target.join().unwrap(), End::Answered(expected));
        });
    }
}

#[test]
fn a_signal_to_a_supervisor_takes_the_file_back_or_comes_too_late() {
    for send in [false, true] {
        check(move || {
            let listener = Listener::new(false, 2);
            let target = spawn(&listener, |listener| listener.call(0));
            let id = listener.receive(0).expect("a request");
            let signal = spawn(&listener, |listener| listener.signal(Who::Supervisor(0), Interrupt::Signal));
            let added = listener.add_fd(0, id, send, Ok(8));
            let expected = match (send, added) {
                (false, Ok(8) | Err(Errno::ERESTARTSYS)) => {
                    assert_eq!(listener.send(id, Reply::Return(1)), Ok(()));
                    1
                }
                (true, Ok(8)) => 8,
                // An answer remains one.
                (true, Err(Errno::ERESTARTSYS)) => 0,
                ends => panic!("{ends:?}"),
            };
            signal.join().unwrap();
            assert_eq!(target.join().unwrap(), End::Answered(Reply::Return(expected)));
        });
    }
}

#[test]
fn poll_wakes_for_what_it_asked() {
    check(|| {
        let listener = Listener::new(false, 1);
        let target = spawn(&listener, |listener| {
            let end = listener.call(0);
            listener.users_gone();
            end
        });
        let waits_for_out = spawn(&listener, |listener| {
            assert_eq!(listener.poll(1, Poll::OUT), Poll::OUT);
            listener.send(FIRST, Reply::Return(3))
        });
        assert_eq!(listener.poll(0, Poll::IN), Poll::IN);
        assert_eq!(listener.receive(0), Ok(FIRST));
        assert_eq!(waits_for_out.join().unwrap(), Ok(()));
        assert_eq!(target.join().unwrap(), End::Answered(Reply::Return(3)));
        assert_eq!(listener.poll(0, Poll::IN), Poll::HUP);
    });
}
