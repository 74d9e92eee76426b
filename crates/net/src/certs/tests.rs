//! Authorities, certificates and their files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use antiphon_proto::NodeId;

use super::*;

const DAY: Duration = Duration::from_hours(24);

struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        init_ca(dir.path(), "demo", false).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn issue(&self, id: u64) -> IssuedFiles {
        issue(self.dir.path(), &IssueRequest::new(NodeId::new(id)), false).unwrap()
    }

    fn load(&self, files: &IssuedFiles, cluster: &str) -> Result<Credentials, CertError> {
        let paths = CredentialFiles {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            authorities: self.path("ca.pem"),
        };
        Credentials::load(&paths, cluster)
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Whether a point in time is this far from now, give or take an hour.
fn is_in(time: SystemTime, distance: Duration) -> bool {
    let ahead = time.duration_since(SystemTime::now()).unwrap();
    ahead.abs_diff(distance) < Duration::from_hours(1)
}

#[test]
fn an_authority_lasts_ten_years_and_its_key_is_private() {
    let fixture = Fixture::new();
    let [info] = <[CertInfo; 1]>::try_from(show(&fixture.path("ca.pem")).unwrap()).unwrap();
    assert_eq!((info.cluster.as_deref(), info.node), (Some("demo"), None));
    assert!(info.is_authority);
    assert_eq!(info.subject, info.issuer);
    assert!(is_in(info.not_after, DAY * 3653));
    assert_eq!(mode(&fixture.path("ca.key")), 0o600);
    assert_eq!(mode(&fixture.path("ca.pem")), 0o644);
    let mut names: Vec<_> = fs::read_dir(fixture.dir.path()).unwrap().collect();
    assert_eq!(names.len(), 2, "no draft is left: {names:?}");
    names.clear();
}

#[test]
fn a_node_has_its_names_for_a_month() {
    let fixture = Fixture::new();
    let request = IssueRequest {
        names: vec!["db.example.org".to_owned()],
        addresses: vec!["10.1.2.3".parse().unwrap(), "::1".parse().unwrap()],
        ..IssueRequest::new(NodeId::new(7))
    };
    let files = issue(fixture.dir.path(), &request, false).unwrap();
    assert_eq!(files.certificate, fixture.path("node-7.pem"));
    assert_eq!((mode(&files.key), mode(&files.certificate)), (0o600, 0o644));
    let info = show(&files.certificate).unwrap().remove(0);
    assert_eq!((info.node, info.cluster.as_deref()), (Some(NodeId::new(7)), Some("demo")));
    assert!(!info.is_authority);
    assert_eq!(
        info.names,
        ["URI:spiffe://demo/node/7", "DNS:node-7", "DNS:db.example.org", "IP:10.1.2.3", "IP:::1"]
    );
    assert!(is_in(info.not_after, DAY * 30));
    assert!(info.not_before < SystemTime::now());
    assert_eq!((info.fingerprint.len(), info.serial.is_empty()), (64, false));
    let credentials = fixture.load(&files, "demo").unwrap();
    assert_eq!((credentials.node(), credentials.cluster()), (NodeId::new(7), "demo"));
    assert_eq!(*credentials.info(), info);
    let shown = format!("{credentials:?}");
    assert!(!shown.contains("PRIVATE"), "{shown}");
}

#[test]
fn days_are_as_asked() {
    let fixture = Fixture::new();
    let request = IssueRequest { days: 3, ..IssueRequest::new(NodeId::new(1)) };
    let files = issue(fixture.dir.path(), &request, false).unwrap();
    assert!(is_in(show(&files.certificate).unwrap()[0].not_after, DAY * 3));
}

#[test]
fn nothing_is_overwritten_unasked() {
    let fixture = Fixture::new();
    let files = fixture.issue(1);
    let before = fs::read_to_string(&files.key).unwrap();
    let authority = fs::read_to_string(fixture.path("ca.key")).unwrap();
    let dir = fixture.dir.path();
    let request = IssueRequest::new(NodeId::new(1));
    assert!(matches!(issue(dir, &request, false), Err(CertError::Exists { .. })));
    assert!(matches!(init_ca(dir, "demo", false), Err(CertError::Exists { .. })));
    // One file of the pair is enough to refuse, and then neither is written.
    fs::remove_file(&files.key).unwrap();
    assert!(matches!(issue(dir, &request, false), Err(CertError::Exists { .. })));
    assert!(!files.key.exists());
    assert_eq!(fs::read_to_string(fixture.path("ca.key")).unwrap(), authority);
    issue(dir, &request, true).unwrap();
    assert_ne!(fs::read_to_string(&files.key).unwrap(), before);
    assert_eq!(mode(&files.key), 0o600);
    fixture.load(&files, "demo").unwrap();
}

#[test]
fn names_that_do_not_fit_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for cluster in ["", "a b", "a/b", "ä", &"x".repeat(64)] {
        let refused = init_ca(dir.path(), cluster, false);
        assert!(matches!(refused, Err(CertError::Name { .. })), "{cluster:?}");
    }
    init_ca(dir.path(), &"x".repeat(63), false).unwrap();
    let nobody = issue(dir.path(), &IssueRequest::new(NodeId::new(0)), false);
    assert!(matches!(nobody, Err(CertError::Name { .. })));
    let request =
        IssueRequest { names: vec!["nöde".to_owned()], ..IssueRequest::new(NodeId::new(1)) };
    assert!(matches!(issue(dir.path(), &request, false), Err(CertError::Name { .. })));
}

#[test]
fn files_that_are_missing_or_no_pem_are_named() {
    let fixture = Fixture::new();
    let files = fixture.issue(1);
    let missing = show(&fixture.path("nowhere.pem")).unwrap_err();
    assert!(missing.to_string().ends_with("nowhere.pem does not exist"), "{missing}");
    fs::write(fixture.path("text"), "neither here nor there").unwrap();
    let text = show(&fixture.path("text")).unwrap_err();
    assert!(matches!(text, CertError::Unreadable { .. }), "{text}");
    // A key where the certificate should be, and the other way round.
    let crossed = IssuedFiles { certificate: files.key.clone(), key: files.certificate.clone() };
    let crossed = fixture.load(&crossed, "demo").unwrap_err();
    assert!(matches!(crossed, CertError::Key { .. }), "{crossed}");
    let twice = IssuedFiles { certificate: files.key.clone(), key: files.key.clone() };
    let twice = fixture.load(&twice, "demo").unwrap_err();
    assert!(twice.to_string().contains("no block BEGIN CERTIFICATE"), "{twice}");
    let broken = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    fs::write(fixture.path("broken"), broken).unwrap();
    assert!(matches!(show(&fixture.path("broken")), Err(CertError::Unreadable { .. })));
    let huge = fs::File::create(fixture.path("huge")).unwrap();
    huge.set_len(2 << 20).unwrap();
    assert!(matches!(show(&fixture.path("huge")), Err(CertError::Read { .. })));
}

#[test]
fn credentials_that_do_not_fit_together_are_refused() {
    let fixture = Fixture::new();
    let (one, two) = (fixture.issue(1), fixture.issue(2));
    let mixed = IssuedFiles { certificate: one.certificate.clone(), key: two.key.clone() };
    let mixed = fixture.load(&mixed, "demo").unwrap_err();
    assert!(matches!(mixed, CertError::KeyMismatch { .. }), "{mixed}");
    let other = fixture.load(&one, "other").unwrap_err();
    assert!(matches!(other, CertError::Identity(Refusal::WrongCluster { .. })), "{other}");
    let authority =
        IssuedFiles { certificate: fixture.path("ca.pem"), key: fixture.path("ca.key") };
    let authority = fixture.load(&authority, "demo").unwrap_err();
    assert!(matches!(authority, CertError::Identity(Refusal::NoIdentity)), "{authority}");
    let paths = CredentialFiles {
        certificate: one.certificate.clone(),
        key: one.key.clone(),
        authorities: two.certificate,
    };
    let refused = Credentials::load(&paths, "demo").unwrap_err();
    assert!(matches!(refused, CertError::NotAuthority { .. }), "{refused}");
}

#[test]
fn certificates_out_of_their_time_are_refused() {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    let make = |from, to| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["node-1".to_owned()]).unwrap();
        (params.not_before, params.not_after) =
            (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        let pem = params.self_signed(&key).unwrap().pem();
        Credentials::from_pem(&pem, &key.serialize_pem(), &pem, "demo").unwrap_err()
    };
    let expired = make(2001, 2002);
    assert!(matches!(expired, CertError::Expired { .. }), "{expired}");
    assert!(expired.to_string().contains("2002"), "{expired}");
    let early = make(2101, 2102);
    assert!(matches!(early, CertError::NotYetValid { .. }), "{early}");
    assert!(early.to_string().contains("2101"), "{early}");
}

#[test]
fn of_two_authorities_the_one_with_the_key_signs() {
    let fixture = Fixture::new();
    let old = fs::read_to_string(fixture.path("ca.pem")).unwrap();
    init_ca(fixture.dir.path(), "demo", true).unwrap();
    let new = fs::read_to_string(fixture.path("ca.pem")).unwrap();
    fs::write(fixture.path("ca.pem"), format!("{old}{new}")).unwrap();
    assert_eq!(show(&fixture.path("ca.pem")).unwrap().len(), 2);
    let files = fixture.issue(1);
    fixture.load(&files, "demo").unwrap();
    let authority = Authority::from_pem(&new, &fs::read_to_string(fixture.path("ca.key")).unwrap());
    assert_eq!(authority.unwrap().cluster(), "demo");
    let stranger = Authority::from_pem(&old, &fs::read_to_string(fixture.path("ca.key")).unwrap());
    assert!(matches!(stranger, Err(CertError::KeyMismatch { .. })), "{stranger:?}");
}
