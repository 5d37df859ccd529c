//! User notification, row by row of what Linux does, and any walk through it against its invariants.

use std::collections::{HashMap, VecDeque};

use seccomp_kernel::Fault;
use seccomp_kernel::notify::*;
use seccomp_kernel::runtime::SeccompData;

type State = Notifications<&'static str, &'static str>;

const RETURN_5: Reply = Reply::Return(5);
const ENOSYS: Reply = Reply::Return(-38);
const LOWEST: FdPlace = FdPlace { newfd: None, close_on_exec: false };

fn listener() -> State {
    Notifications::new(Id(u64::MAX), false)
}

fn killable() -> State {
    Notifications::new(Id(1), true)
}

fn call(nr: i32) -> SeccompData {
    SeccompData { nr, ..SeccompData::default() }
}

fn request(state: &mut State, target: &'static str) -> Id {
    let (id, wake) = state.request(target, call(39)).expect("it listens");
    assert_eq!((wake.targets, wake.supervisors, wake.events), (Targets::None, true, Poll::IN));
    id
}

fn receive(state: &mut State) -> Id {
    let (received, wake) = state.receive().expect("a request").expect("no wait");
    assert_eq!((wake.targets, wake.supervisors, wake.events), (Targets::None, false, Poll::OUT));
    received.id
}

fn sent(state: &mut State) -> Id {
    let id = request(state, "a");
    assert_eq!(receive(state), id);
    id
}

fn respond(state: &mut State, id: Id, reply: Reply) -> Result<Wake, IoctlError> {
    state.send(Response { id, reply })
}

fn add_fd(state: &mut State, id: Id, send: bool, file: &'static str) -> Result<Ticket, IoctlError> {
    let (ticket, wake) = state.add_fd(AddFd { id, srcfd: 0, at: LOWEST, send }, file).map_err(|refused| {
        assert_eq!(refused.file, file);
        refused.error
    })?;
    assert_eq!((wake.targets, wake.supervisors), (Targets::One(id), false));
    Ok(ticket)
}

fn errno(error: impl Into<Errno>) -> Errno {
    error.into()
}

#[test]
fn ids_count_from_the_first_and_requests_are_received_in_order() {
    let mut state = listener();
    let ids = ["a", "b", "c"].map(|target| request(&mut state, target));
    assert_eq!(ids, [Id(u64::MAX), Id(0), Id(1)]);
    assert_eq!(ids.map(|_| receive(&mut state)), ids);
    assert!(matches!(state.receive(), Ok(None)));
}

#[test]
fn a_request_tells_whose_call_it_is_and_which() {
    let mut state = listener();
    request(&mut state, "a");
    let (received, _) = state.receive().unwrap().unwrap();
    assert_eq!(*received.target, "a");
    let notif = received.notif(12);
    assert_eq!(notif, SeccompNotif { id: u64::MAX, pid: 12, flags: 0, data: call(39) });
}

#[test]
fn each_state_has_its_errors() {
    let mut state = listener();
    let id = request(&mut state, "a");
    let unknown = Id(99);
    let ask = |state: &mut State, id| {
        [
            state.id_valid(id).map_err(errno),
            add_fd(state, id, false, "file").map(drop).map_err(errno),
            add_fd(state, id, true, "file").map(drop).map_err(errno),
            respond(state, id, RETURN_5).map(drop).map_err(errno),
        ]
    };
    let not_sent =
        [Err(Errno::ENOENT), Err(Errno::EINPROGRESS), Err(Errno::EINPROGRESS), Err(Errno::EINPROGRESS)];
    let gone = [Err(Errno::ENOENT); 4];
    assert_eq!(ask(&mut state, unknown), gone);
    assert_eq!(ask(&mut state, id), not_sent, "init");
    assert_eq!(receive(&mut state), id);
    assert_eq!(ask(&mut state, id), [Ok(()), Ok(()), Err(Errno::EBUSY), Ok(())], "sent");
    assert_eq!(ask(&mut state, id), not_sent, "replied");
    assert_eq!(state.next(id), Next::Install("file", LOWEST));
    let _ = state.fd_installed(id, Ok(3));
    assert_eq!(state.next(id), Next::Return(RETURN_5));
    assert_eq!(ask(&mut state, id), gone, "left");
}

#[test]
fn a_reply_wakes_the_target_and_nobody_else() {
    let mut state = listener();
    let first = sent(&mut state);
    request(&mut state, "b");
    assert_eq!(state.next(first), Next::Wait(Wait::Interruptible));
    let wake = respond(&mut state, first, Reply::Continue).unwrap();
    assert_eq!((wake.targets, wake.supervisors, wake.events), (Targets::One(first), false, Poll::empty()));
    assert_eq!(state.woken(wake).collect::<Vec<_>>(), [&"a"]);
    assert_eq!(state.next(first), Next::Return(Reply::Continue));
}

#[test]
fn a_signal_ends_a_request_and_a_restart_makes_another() {
    for receives in [false, true] {
        for interrupt in [Interrupt::Signal, Interrupt::Fatal] {
            let mut state = listener();
            let id = request(&mut state, "a");
            if receives {
                receive(&mut state);
            }
            assert!(state.interrupt(id, interrupt));
            assert_eq!(respond(&mut state, id, RETURN_5), Err(IoctlError::UnknownId(id)));
            assert_eq!(state.poll(), Poll::empty());
            assert_eq!(request(&mut state, "a"), Id(0));
        }
    }
}

#[test]
fn a_receiver_that_comes_too_late_finds_nothing() {
    let mut state = listener();
    let id = request(&mut state, "a");
    assert!(state.interrupt(id, Interrupt::Signal));
    assert_eq!(state.receive().map(drop).map_err(errno), Err(Errno::ENOENT));
    assert!(matches!(state.receive(), Ok(None)));
}

#[test]
fn an_answer_goes_before_a_signal() {
    for mut state in [listener(), killable()] {
        for interrupt in [Interrupt::Signal, Interrupt::Fatal] {
            let id = sent(&mut state);
            let _ = respond(&mut state, id, RETURN_5).unwrap();
            assert!(!state.interrupt(id, interrupt));
            assert_eq!(state.next(id), Next::Return(RETURN_5));
            let id = sent(&mut state);
            add_fd(&mut state, id, false, "file").unwrap();
            assert!(!state.interrupt(id, interrupt));
            assert_eq!(state.next(id), Next::Install("file", LOWEST));
            let _ = state.fd_installed(id, Ok(3));
            assert!(state.interrupt(id, Interrupt::Fatal));
        }
    }
}

#[test]
fn wait_killable_recv_lets_signals_wait_once_received() {
    let mut state = killable();
    let id = request(&mut state, "a");
    assert_eq!(state.next(id), Next::Wait(Wait::Interruptible));
    assert!(state.interrupt(id, Interrupt::Signal));
    let id = request(&mut state, "a");
    assert_eq!(receive(&mut state), id);
    // It slept interruptibly when the signal came.
    assert!(!state.interrupt(id, Interrupt::Signal));
    assert_eq!(state.next(id), Next::Wait(Wait::Killable));
    assert!(state.interrupt(id, Interrupt::Fatal));
}

#[test]
fn what_could_not_be_told_is_received_again() {
    for (mut state, woken) in [(listener(), Targets::None), (killable(), Targets::One(Id(1)))] {
        let id = sent(&mut state);
        let wake = state.receive_failed(id);
        assert_eq!((wake.targets, wake.supervisors, wake.events), (woken, true, Poll::IN));
        assert_eq!(state.next(id), Next::Wait(Wait::Interruptible));
        assert_eq!(receive(&mut state), id);
        let _ = respond(&mut state, id, RETURN_5).unwrap();
        assert!(state.receive_failed(id).is_none(), "it was answered by a guess");
        assert_eq!(state.next(id), Next::Return(RETURN_5));
        assert!(state.receive_failed(id).is_none(), "it is gone");
        assert!(matches!(state.receive(), Ok(None)));
    }
}

#[test]
fn closing_answers_what_has_no_answer() {
    let mut state = listener();
    let ids = ["a", "b", "c"].map(|target| request(&mut state, target));
    receive(&mut state);
    receive(&mut state);
    let _ = respond(&mut state, ids[0], RETURN_5).unwrap();
    let wake = state.close();
    assert_eq!(state.woken(wake).collect::<Vec<_>>(), [&"a", &"b", &"c"]);
    assert!(!state.is_open());
    assert_eq!(ids.map(|id| state.next(id)), [RETURN_5, ENOSYS, ENOSYS].map(Next::Return));
    assert_eq!(state.request("d", call(39)).map_err(errno), Err(Errno::ENOSYS));
}

#[test]
fn poll_tells_what_can_be_done() {
    let mut state = listener();
    assert_eq!(state.poll(), Poll::empty());
    let id = request(&mut state, "a");
    assert_eq!(state.poll().bits(), 0x41);
    receive(&mut state);
    assert_eq!(state.poll().bits(), 0x104);
    request(&mut state, "b");
    assert_eq!(state.poll(), Poll::IN | Poll::OUT);
    let _ = respond(&mut state, id, RETURN_5).unwrap();
    assert_eq!(state.poll(), Poll::IN);
}

#[test]
fn nobody_waits_for_the_requests_of_nobody() {
    let mut state = listener();
    let wake = state.users_gone();
    assert_eq!((wake.supervisors, wake.events), (true, Poll::HUP));
    assert_eq!(state.poll(), Poll::HUP);
    assert_eq!(state.receive().map(drop), Err(IoctlError::NoRequest));
    assert_eq!(state.receive().map(drop).map_err(errno), Err(Errno::ENOENT));
}

#[test]
fn flags_say_where_to_wake() {
    let mut state = listener();
    assert!(!state.request("a", call(1)).unwrap().1.same_cpu);
    assert_eq!(state.set_flags(1), Ok(()));
    for flags in [2, 3, 1 << 32, u64::MAX] {
        assert_eq!(state.set_flags(flags).map_err(errno), Err(Errno::EINVAL));
    }
    let (id, wake) = state.request("b", call(1)).unwrap();
    assert!(wake.same_cpu);
    let _ = (receive(&mut state), receive(&mut state));
    assert!(respond(&mut state, id, RETURN_5).unwrap().same_cpu);
    assert_eq!(state.set_flags(0), Ok(()));
    assert!(!state.request("c", call(1)).unwrap().1.same_cpu);
}

#[test]
fn files_are_served_the_newest_first_and_one_more_after_the_answer() {
    let mut state = listener();
    let id = sent(&mut state);
    let tickets = ["one", "two", "three"].map(|file| add_fd(&mut state, id, false, file).unwrap());
    assert_eq!(state.next(id), Next::Install("three", LOWEST));
    assert_eq!(state.fd_progress(tickets[2]), FdProgress::Wait(Wait::Uninterruptible));
    assert_eq!(state.fd_progress(tickets[0]), FdProgress::Wait(Wait::Interruptible));
    // It comes while the lock is free, so the target sees it when it asks.
    let _ = respond(&mut state, id, RETURN_5).unwrap();
    assert!(state.fd_installed(id, Ok(7)).supervisors);
    assert_eq!(state.fd_progress(tickets[2]), FdProgress::Installed(Ok(7)));
    assert_eq!(state.next(id), Next::Install("two", LOWEST));
    let _ = state.fd_installed(id, Err(Errno::EMFILE));
    assert_eq!(state.fd_progress(tickets[1]), FdProgress::Installed(Err(Errno::EMFILE)));
    assert_eq!(state.fd_progress(tickets[0]), FdProgress::TargetGone("one"));
    assert_eq!(state.next(id), Next::Return(RETURN_5));
}

#[test]
fn a_file_can_be_the_answer() {
    let mut state = listener();
    let id = sent(&mut state);
    let ticket = add_fd(&mut state, id, true, "file").unwrap();
    assert_eq!(state.id_valid(id), Err(IoctlError::UnknownId(id)));
    assert_eq!(state.next(id), Next::Install("file", LOWEST));
    let _ = state.fd_installed(id, Err(Errno::EMFILE));
    assert_eq!(state.fd_progress(ticket), FdProgress::Installed(Err(Errno::EMFILE)));
    assert_eq!(state.id_valid(id), Ok(()), "it can be answered again");
    let ticket = add_fd(&mut state, id, true, "file").unwrap();
    assert_eq!(state.next(id), Next::Install("file", LOWEST));
    let _ = state.fd_installed(id, Ok(9));
    assert_eq!(state.fd_progress(ticket), FdProgress::Installed(Ok(9)));
    assert_eq!(state.next(id), Next::Return(Reply::Return(9)));
}

#[test]
fn a_file_that_failed_to_be_the_answer_leaves_none_behind_a_closed_listener() {
    let mut state = listener();
    let id = sent(&mut state);
    add_fd(&mut state, id, true, "file").unwrap();
    assert_eq!(state.next(id), Next::Install("file", LOWEST));
    let _ = state.close();
    let _ = state.fd_installed(id, Err(Errno::EMFILE));
    assert_eq!(state.next(id), Next::Return(ENOSYS));
}

#[test]
fn a_supervisor_can_take_a_file_back_until_the_target_has_it() {
    let mut state = listener();
    let id = sent(&mut state);
    let ticket = add_fd(&mut state, id, false, "file").unwrap();
    assert_eq!(state.cancel_fd(ticket), Some("file"));
    assert_eq!(state.next(id), Next::Wait(Wait::Interruptible));
    let ticket = add_fd(&mut state, id, false, "file").unwrap();
    assert_eq!(state.next(id), Next::Install("file", LOWEST));
    assert_eq!(state.cancel_fd(ticket), None);
    let _ = state.fd_installed(id, Ok(4));
    assert_eq!(state.cancel_fd(ticket), None);
    assert_eq!(state.fd_progress(ticket), FdProgress::Installed(Ok(4)));
    let ticket = add_fd(&mut state, id, true, "file").unwrap();
    assert_eq!(state.cancel_fd(ticket), Some("file"));
    assert_eq!(state.next(id), Next::Return(Reply::Return(0)));
}

#[test]
fn numbers_are_matched_as_linux_does() {
    let rows = [
        (0xc050_2100, Some(Ioctl::Receive)),
        (0xc018_2101, Some(Ioctl::Send)),
        (0x4008_2102, Some(Ioctl::IdValid)),
        (0x8008_2102, Some(Ioctl::IdValid)),
        (0xc008_2102, None),
        (0x4008_2104, Some(Ioctl::SetFlags)),
        (0x4018_2103, Some(Ioctl::AddFd(24))),
        (0x8018_2103, Some(Ioctl::AddFd(24))),
        (0x0000_2103, Some(Ioctl::AddFd(0))),
        (0xffff_2103, Some(Ioctl::AddFd(0x3fff))),
        (0x4018_2003, None),
        (0x4018_2100, None),
        (0x0000_5401, None),
    ];
    for (cmd, ioctl) in rows {
        assert_eq!(Ioctl::of(cmd).ok(), ioctl, "{cmd:#x}");
        assert!(ioctl.is_some() || Ioctl::of(cmd).map_err(errno) == Err(Errno::EINVAL));
    }
}

#[test]
fn answers_are_checked() {
    let rows = [
        ((0, 0, 0), Ok(Reply::Return(0))),
        ((5, 0, 0), Ok(Reply::Return(5))),
        ((-5000, 0, 0), Ok(Reply::Return(-5000))),
        ((5, -1, 0), Ok(Reply::Return(-1))),
        ((0, 3, 0), Ok(Reply::Return(3))),
        ((0, 0, 1), Ok(Reply::Continue)),
        ((1, 0, 1), Err(IoctlError::ContinueWithValue)),
        ((0, -1, 1), Err(IoctlError::ContinueWithValue)),
        ((0, 0, 2), Err(IoctlError::Flags(2))),
        ((1, 1, 3), Err(IoctlError::Flags(3))),
    ];
    for ((val, error, flags), reply) in rows {
        let response = SeccompNotifResp { id: 6, val, error, flags };
        assert_eq!(Response::try_from(response), reply.map(|reply| Response { id: Id(6), reply }));
        assert!(reply.is_ok() || reply.map_err(errno) == Err(Errno::EINVAL));
    }
}

/// User memory that ends at an address.
struct Memory {
    at: u64,
    bytes: Vec<u8>,
}

impl Memory {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        let start = address.checked_sub(self.at).ok_or(Fault)? as usize;
        into.copy_from_slice(self.bytes.get(start..start + into.len()).ok_or(Fault)?);
        Ok(())
    }
}

#[test]
fn a_receive_buffer_has_to_be_zero_and_a_fault_behind_what_is_not_does_not_show() {
    let check = |at: u64, len: usize, not_zero: Option<usize>| {
        let mut memory = Memory { at, bytes: vec![0; len] };
        if let Some(at) = not_zero {
            memory.bytes[at] = 1;
        }
        SeccompNotif::check_buffer(at, |address, into| memory.read(address, into)).map_err(errno)
    };
    for start in 0x1000..0x1008 {
        assert_eq!(check(start, 80, None), Ok(()));
        assert_eq!(check(start, 79, None), Err(Errno::EFAULT));
        for at in (0..80).step_by(if cfg!(miri) { 13 } else { 1 }) {
            assert_eq!(check(start, 80, Some(at)), Err(Errno::EINVAL));
        }
        // What is mapped ends at a page.
        let mapped = 0x1008 - start as usize;
        assert_eq!(check(start, mapped, Some(mapped - 1)), Err(Errno::EINVAL));
    }
}

#[test]
fn an_addfd_is_checked_in_order() {
    let good = SeccompNotifAddfd { id: 3, srcfd: 4, ..SeccompNotifAddfd::default() };
    let at = |newfd, close_on_exec| FdPlace { newfd, close_on_exec };
    let rows = [
        (good, Ok((at(None, false), false))),
        (SeccompNotifAddfd { flags: 1, newfd: 0, ..good }, Ok((at(Some(0), false), false))),
        (SeccompNotifAddfd { flags: 3, newfd: 9, ..good }, Ok((at(Some(9), false), true))),
        (SeccompNotifAddfd { flags: 2, newfd_flags: 0x80000, ..good }, Ok((at(None, true), true))),
        (SeccompNotifAddfd { flags: 4, newfd: 9, newfd_flags: 1, ..good }, Err(IoctlError::Flags(1))),
        (SeccompNotifAddfd { flags: 4, newfd: 9, ..good }, Err(IoctlError::Flags(4))),
        (SeccompNotifAddfd { flags: 2, newfd: 9, ..good }, Err(IoctlError::UnaskedFd(9))),
    ];
    for (add_fd, expected) in rows {
        let expected = expected.map(|(at, send)| AddFd { id: Id(3), srcfd: 4, at, send });
        assert_eq!(AddFd::try_from(add_fd), expected);
    }
}

#[test]
fn an_addfd_may_be_longer_than_known() {
    let read = |len: usize, size: usize, not_zero: &[usize]| {
        let mut memory = Memory { at: 0x1000, bytes: vec![0; len] };
        not_zero.iter().for_each(|at| memory.bytes[*at] = 1);
        AddFd::read(0x1000, size, |address, into| memory.read(address, into)).map(drop).map_err(errno)
    };
    assert_eq!(read(24, 24, &[]), Ok(()));
    assert_eq!(read(24, 23, &[]), Err(Errno::EINVAL));
    assert_eq!(read(23, 24, &[]), Err(Errno::EFAULT));
    assert_eq!(read(4095, 4095, &[]), Ok(()));
    assert_eq!(read(4096, 4096, &[]), Err(Errno::EINVAL));
    assert_eq!(read(4095, 4095, &[4094]), Err(Errno::E2BIG));
    assert_eq!(read(32, 40, &[]), Err(Errno::EFAULT));
    assert_eq!(read(32, 40, &[24]), Err(Errno::E2BIG));
    // Beyond goes first: flags that are not known are not told of.
    assert_eq!(read(32, 32, &[9]), Err(Errno::EINVAL));
    assert_eq!(read(32, 32, &[9, 31]), Err(Errno::E2BIG));
}

/// A small generator, so that a walk is its seed.
struct Walk(u64);

impl Walk {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }

    fn one_of<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len())])
    }
}

/// What a target does at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Idle,
    Asleep(Id, Wait),
    Awake(Id),
    Installing(Id),
}

/// All sides of a listener, of which any may go on at any time, as locks let them.
struct World {
    state: Notifications<usize, u32>,
    targets: [Target; 3],
    /// Those that wait for a file, and whether they are awake.
    tickets: Vec<(Ticket, bool)>,
    /// Requests that can be received, in order.
    announced: VecDeque<Id>,
    /// What supervisors were told was the answer; `None` is left open by a file.
    answers: HashMap<Id, Option<Reply>>,
    made: u64,
}

impl World {
    fn wake(&mut self, wake: Wake) {
        for &target in self.state.woken(wake) {
            if let Target::Asleep(id, _) = self.targets[target] {
                self.targets[target] = Target::Awake(id);
            }
        }
        if wake.supervisors {
            self.tickets.iter_mut().for_each(|(_, awake)| *awake = true);
        }
    }

    fn ids(&self) -> Vec<Id> {
        let id = |target: &Target| match *target {
            Target::Idle => None,
            Target::Asleep(id, _) | Target::Awake(id) | Target::Installing(id) => Some(id),
        };
        self.targets.iter().filter_map(id).collect()
    }

    fn step(&mut self, walk: &mut Walk, open: bool) {
        let at = walk.below(3);
        let ids = self.ids();
        match walk.below(9) {
            0 | 1 => self.target(at, walk),
            2 => {
                let interrupt = [Interrupt::Signal, Interrupt::Fatal][walk.below(2)];
                if let Target::Asleep(id, wait) = self.targets[at]
                    && (wait == Wait::Interruptible || interrupt == Interrupt::Fatal)
                {
                    self.targets[at] = Target::Awake(id);
                    if self.state.interrupt(id, interrupt) {
                        assert!(!self.answers.contains_key(&id), "{id} was answered and interrupted");
                        self.announced.retain(|announced| *announced != id);
                        self.targets[at] = Target::Idle;
                    }
                }
            }
            3 if open => match self.state.receive().map(|received| received.map(|(r, wake)| (r.id, wake))) {
                Ok(Some((id, wake))) => {
                    assert_eq!(self.announced.pop_front(), Some(id));
                    self.wake(wake);
                    if walk.below(4) == 0 {
                        let wake = self.state.receive_failed(id);
                        // A request that is put back is as old as it was.
                        self.announced.push_front(id);
                        self.wake(wake);
                    }
                }
                Ok(None) | Err(_) => assert!(self.announced.is_empty()),
            },
            4 | 5 if open => {
                if let Some(id) = walk.one_of(&ids) {
                    let reply = Reply::Return(walk.below(100) as i64);
                    if let Ok(wake) = self.state.send(Response { id, reply }) {
                        assert_eq!(self.answers.insert(id, Some(reply)), None, "{id} was answered twice");
                        self.wake(wake);
                    }
                }
            }
            6 | 7 if open => {
                if let Some(id) = walk.one_of(&ids) {
                    let add_fd = AddFd { id, srcfd: 0, at: LOWEST, send: walk.below(2) == 0 };
                    if let Ok((ticket, wake)) = self.state.add_fd(add_fd, 0) {
                        if add_fd.send {
                            assert_eq!(self.answers.insert(id, None), None, "{id} was answered twice");
                        }
                        self.wake(wake);
                        self.tickets.push((ticket, true));
                    }
                }
            }
            _ => {
                if !self.tickets.is_empty() {
                    let at = walk.below(self.tickets.len());
                    let cancel = walk.below(4) == 0;
                    self.supervisor(at, cancel);
                }
            }
        }
        self.check();
    }

    fn target(&mut self, at: usize, walk: &mut Walk) {
        match self.targets[at] {
            Target::Idle => {
                if let Ok((id, wake)) = self.state.request(at, call(at as i32)) {
                    assert_eq!(id.0, self.made);
                    self.made += 1;
                    self.announced.push_back(id);
                    self.targets[at] = Target::Awake(id);
                    self.wake(wake);
                }
            }
            Target::Asleep(..) => {}
            Target::Awake(id) => match self.state.next(id) {
                Next::Wait(wait) => self.targets[at] = Target::Asleep(id, wait),
                Next::Install(..) => self.targets[at] = Target::Installing(id),
                Next::Return(reply) => {
                    self.announced.retain(|announced| *announced != id);
                    match self.answers.remove(&id) {
                        Some(told) => assert!(told.is_none_or(|told| told == reply)),
                        None => assert!(!self.state.is_open() && reply == ENOSYS),
                    }
                    self.targets[at] = Target::Idle;
                }
            },
            Target::Installing(id) => {
                let fd = if walk.below(3) == 0 { Err(Errno::EMFILE) } else { Ok(3) };
                let wake = self.state.fd_installed(id, fd);
                // A file that failed to be the answer is none.
                if self.state.id_valid(id).is_ok() {
                    assert!(!matches!(self.answers.remove(&id), Some(Some(_))), "{id} lost its answer");
                }
                self.targets[at] = Target::Awake(id);
                self.wake(wake);
            }
        }
    }

    fn supervisor(&mut self, at: usize, cancel: bool) {
        let (ticket, awake) = self.tickets[at];
        if cancel && self.state.cancel_fd(ticket).is_some() {
            self.tickets.remove(at);
        } else if awake {
            match self.state.fd_progress(ticket) {
                FdProgress::Wait(_) => self.tickets[at].1 = false,
                FdProgress::Installed(_) | FdProgress::TargetGone(_) => drop(self.tickets.remove(at)),
            }
        }
    }

    /// A sleeper has nothing to do, and poll tells what there is.
    fn check(&mut self) {
        for target in self.targets {
            if let Target::Asleep(id, _) = target {
                let expects = self.state.next(id);
                assert!(matches!(expects, Next::Wait(_)), "{id} sleeps through {expects:?}");
            }
        }
        for &(ticket, awake) in &self.tickets {
            let sleeps = awake || matches!(self.state.fd_progress(ticket), FdProgress::Wait(_));
            assert!(sleeps, "a supervisor sleeps through its result");
        }
        if self.state.is_open() {
            assert_eq!(self.state.poll().contains(Poll::IN), !self.announced.is_empty());
        }
    }
}

#[test]
fn any_walk_keeps_the_order_answers_once_and_leaves_nobody_asleep() {
    let walks = std::env::var("SECCOMP_NOTIFY_WALKS").map_or(2_000, |walks| walks.parse().expect("a number"));
    for seed in 1..=walks {
        let mut walk = Walk(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15) | 1);
        let mut world = World {
            state: Notifications::new(Id(0), seed % 2 == 0),
            targets: [Target::Idle; 3],
            tickets: Vec::new(),
            announced: VecDeque::new(),
            answers: HashMap::new(),
            made: 0,
        };
        for _ in 0..200 {
            world.step(&mut walk, true);
        }
        // Ioctls that wait hold the listener open; then everybody gets out.
        while !world.tickets.is_empty() {
            (0..3).for_each(|at| world.target(at, &mut walk));
            world.supervisor(0, true);
        }
        let wake = world.state.close();
        world.wake(wake);
        while !world.ids().is_empty() {
            let busy = (0..3).filter(|at| world.targets[*at] != Target::Idle).collect::<Vec<_>>();
            assert!(busy.iter().any(|at| !matches!(world.targets[*at], Target::Asleep(..))), "{seed}");
            busy.into_iter().for_each(|at| world.target(at, &mut walk));
        }
        assert_eq!(world.state.request(0, call(0)).map(drop), Err(RequestError::NotListening));
    }
}
