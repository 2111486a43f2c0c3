//! Files laid out below a scratch root and taken away again.

use std::collections::BTreeSet;

use super::*;

fn everything(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.insert(path);
    }
    found
}

#[test]
fn what_was_laid_out_is_taken_away_and_what_was_changed_stays_until_a_purge() {
    let scratch = tempfile::tempdir().unwrap();
    let (root, program) = (scratch.path().join("root"), scratch.path().join("program"));
    fs::write(&program, "an ELF file").unwrap();
    for directory in
        ["etc", "usr/bin", "usr/lib/systemd/system", "usr/lib/sysusers.d", "usr/lib/tmpfiles.d", "usr/share"]
    {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    let generated = [Generated { path: "/usr/lib/portcullis.1".into(), content: b".TH".to_vec() }];
    let made = [generated[0].path.clone()];
    let before = everything(&root);

    lay_out(&root, &program, &generated).unwrap();
    assert_eq!(fs::read_to_string(root.join("usr/bin/portcullis")).unwrap(), "an ELF file");
    let mode = fs::metadata(root.join("usr/bin/portcullis")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    take_away(&root, &made, false).unwrap();
    assert_eq!(everything(&root), before);

    lay_out(&root, &program, &generated).unwrap();
    let settings = root.join("etc/portcullis/portcullis.toml");
    fs::write(&settings, "# mine").unwrap();
    let said = lay_out(&root, &program, &generated).unwrap().join("\n");
    assert!(said.contains("left /etc/portcullis/portcullis.toml as it is"), "{said}");
    assert_eq!(fs::read_to_string(&settings).unwrap(), "# mine");
    take_away(&root, &made, false).unwrap();
    assert_eq!(fs::read_to_string(&settings).unwrap(), "# mine");
    take_away(&root, &made, true).unwrap();
    assert_eq!(everything(&root), before);
}

#[test]
fn everything_that_is_looked_at_beside_the_program_is_installed() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging");
    for directory in ["schemas", "grafana", "prometheus"] {
        for entry in fs::read_dir(packaging.join(directory)).unwrap() {
            let entry = entry.unwrap();
            let to = format!("/usr/share/portcullis/{directory}/{}", entry.file_name().to_str().unwrap());
            let file =
                FILES.iter().find(|file| file.path == to).unwrap_or_else(|| panic!("{to} is not installed"));
            assert_eq!(file.content, fs::read_to_string(entry.path()).unwrap());
        }
    }
    for file in &FILES {
        let above = Path::new(file.path).parent().unwrap();
        let ours = above.to_str().unwrap().contains("portcullis");
        assert!(
            !ours || DIRECTORIES.iter().any(|made| Path::new(made) == above),
            "{above:?} would stay behind"
        );
    }
}

#[test]
fn the_files_carried_are_those_of_the_packaging_directory() {
    let configuration = FILES.iter().find(|file| file.path == "/etc/portcullis/portcullis.toml").unwrap();
    assert!(
        crate::config::parse(&crate::diagnostic::SourceFile::new("portcullis.toml", configuration.content))
            .is_ok()
    );
    let unit = FILES.iter().find(|file| file.path.ends_with("/portcullis.service")).unwrap();
    assert!(
        unit.content.contains(&format!("ExecStart={PROGRAM} run --signer /run/portcullis-signer.sock\n"))
    );
    let listens = "ListenSequentialPacket=/run/portcullis-signer.sock\n";
    assert!(FILES.iter().any(|file| file.path.ends_with("-signer.socket") && file.content.contains(listens)));
    for (path, content) in FILES.iter().map(|file| (file.path, file.content)) {
        assert!(content.ends_with('\n'), "{path}");
    }
    let paths: BTreeSet<_> = FILES.iter().map(|file| file.path).collect();
    assert_eq!(paths.len(), FILES.len());
    for file in &FILES {
        assert!(file.path.starts_with("/usr/") || file.kind == Kind::Configuration, "{}", file.path);
    }
}
