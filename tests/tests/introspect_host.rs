//! What a debugger is told of a thread's filters, by Linux and by us.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use cbpf_translator::SockFilter;
use cbpf_translator::cbpf::MAX_INSNS;
use seccomp_kernel::uapi::FilterFlags;
use seccomp_tests::host;
use seccomp_tests::introspect::{self, About, Confined, Debugger, Question, Tracee};

const ALLOW: SockFilter = SockFilter::new(0x06, 0, 0, 0x7fff_0000);

/// A filter of `len` instructions that allows everything, with something in each field that it does not use.
fn filter(len: usize) -> Vec<SockFilter> {
    let junk = |k: usize| SockFilter::new(0x00, k as u8, (k >> 8) as u8, (k * 0x9e37_79b9) as u32);
    (1..len).map(junk).chain([SockFilter { jt: 7, jf: 9, ..ALLOW }]).collect()
}

/// Every kind of thread that can be traced.
fn tracees() -> Vec<Tracee> {
    let flags = |flags: FilterFlags| flags.bits();
    let log = flags(FilterFlags::LOG);
    let speculate = flags(FilterFlags::SPEC_ALLOW);
    let stacks = [
        vec![(0, filter(1))],
        vec![(log, filter(3))],
        vec![(log, filter(2)), (0, filter(5)), (log | speculate, filter(70)), (speculate, filter(64))],
        vec![(0, filter(MAX_INSNS)), (log, filter(1))],
        (1..40).map(|len| (if len % 3 == 0 { log } else { 0 }, filter(len))).collect(),
    ];
    let confined = [Confined::No, Confined::Strict].into_iter().chain(stacks.map(Confined::Filters));
    let tracee = |(at, confined)| Tracee { no_new_privs: at % 2 == 1, confined };
    confined.enumerate().map(tracee).collect()
}

fn questions() -> Vec<Question> {
    let indices = [0, 1, 2, 3, 4, 38, 39, 1 << 31, 1 << 32, u64::MAX];
    let programs = indices.into_iter().flat_map(|index| {
        let rooms = [None, Some(0), Some(7), Some(8), Some(512), Some(8 * MAX_INSNS)];
        rooms.map(|room| Question { about: About::Program { index }, room })
    });
    let metadata = indices.into_iter().flat_map(|index| {
        let sizes = [0, 7, 8, 9, 12, 15, 16, 17, 4096, 1 << 32, u64::MAX];
        sizes.into_iter().flat_map(move |size| {
            let rooms = [None, Some(0), Some(7), Some(8), Some(12), Some(16), Some(24)];
            rooms.map(|room| Question { about: About::Metadata { index, size }, room })
        })
    });
    programs.chain(metadata).collect()
}

#[test]
fn debuggers_get_the_same_answers() {
    if !host::enabled() {
        return;
    }
    let questions = questions();
    let tracees = tracees();
    let debuggers = [(true, false), (true, true), (false, false), (false, true)];
    let mut programs = 0;
    let mut refusals = std::collections::BTreeMap::new();
    for (admin, filtered) in debuggers {
        let debugger = Debugger { admin, filtered };
        for tracee in &tracees {
            let (linux_status, linux) = introspect::host(debugger, tracee, &questions);
            let (status, ours) = introspect::ours(debugger, tracee, &questions);
            assert_eq!(linux_status, status, "{tracee:?}");
            for ((question, linux), ours) in questions.iter().zip(&linux).zip(&ours) {
                assert_eq!(linux, ours, "{question:?} by {debugger:?} about {:?}", tracee.confined);
                match linux {
                    Ok(_) => programs += 1,
                    Err(errno) => *refusals.entry(*errno).or_insert(0) += 1,
                }
            }
        }
    }
    println!("{programs} answers, refusals by errno {refusals:?}");
    // Only a matrix that reaches every refusal tells their order.
    assert!(programs > 0 && refusals.keys().eq(&[libc::ENOENT, libc::EACCES, libc::EFAULT, libc::EINVAL]));
}
