//! The translator against Linux's own answers.
use cbpf_translator::*;
#[test]
fn every_vector_matches() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/programs.tsv")).unwrap();
    let mut n = 0;
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        let f: Vec<&str> = line.split('\t').collect();
        let hex = |s: &str| -> Vec<u8> {
            (0..s.len() / 2).map(|i| u8::from_str_radix(&s[2 * i..2 * i + 2], 16).unwrap()).collect()
        };
        let p: Vec<SockFilter> =
            hex(f[2]).chunks(8).map(|c| SockFilter::from_ne_bytes(c.try_into().unwrap())).collect();
        match check(p) {
            Ok(c) => {
                let t = translate(&c).unwrap().to_bytes().unwrap();
                assert!(!f[3].starts_with("REJECT"), "{} accepted", f[0]);
                assert_eq!(t, hex(f[3]), "{}", f[0]);
            }
            Err(e) => assert!(f[3].starts_with("REJECT"), "{}: {e}", f[0]),
        }
        n += 1;
    }
    assert_eq!(n, 931);
}
