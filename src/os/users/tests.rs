use super::*;

fn refused(user: Option<&str>, group: Option<&str>) -> String {
    resolve(user, group).expect_err("it has to be refused").to_string()
}

#[test]
fn users_and_groups_are_found_by_name_and_number() {
    assert_eq!(resolve(None, None).unwrap(), None);
    let root = resolve(Some("root"), None).unwrap().unwrap();
    assert_eq!((root.uid, root.gid), (0, 0));
    assert!(root.groups.contains(&0));
    assert_eq!(resolve(Some("0"), None).unwrap().unwrap(), root);
    // A named group replaces the user's own.
    let mixed = resolve(Some("root"), Some("4242")).unwrap().unwrap();
    assert_eq!((mixed.uid, mixed.gid), (0, 4242));
    assert!(mixed.groups.contains(&4242));
    // A group alone leaves the user, and removes all other groups.
    let group = resolve(None, Some("root")).unwrap().unwrap();
    assert_eq!(Credentials::of(&group), Credentials { uid: nix::unistd::geteuid().as_raw(), gid: 0, groups: vec![0] });
    // A number needs no entry.
    let nameless = Credentials { uid: 3_999_999_999, gid: 3_999_999_999, groups: vec![3_999_999_999] };
    assert_eq!(Credentials::of(&resolve(Some("3999999999"), None).unwrap().unwrap()), nameless);
    assert_eq!((root.name.as_deref(), root.home.as_deref()), (Some("root"), Some(std::path::Path::new("/root"))));
}

#[test]
fn who_is_not_there_is_refused() {
    assert_eq!(refused(Some("no-such-user"), None), "there is no user \"no-such-user\"");
    assert_eq!(refused(Some("root"), Some("no-such-group")), "there is no group \"no-such-group\"");
    assert_eq!(refused(Some(""), None), "there is no user \"\"");
    assert_eq!(refused(Some("-1"), None), "there is no user \"-1\"");
}

#[test]
fn the_number_that_means_as_it_is_is_nobody() {
    assert_eq!(refused(Some("4294967295"), None), "there is no user \"4294967295\"");
    assert_eq!(refused(None, Some("4294967295")), "there is no group \"4294967295\"");
    assert_eq!(refused(Some("root"), Some("4294967295")), "there is no group \"4294967295\"");
}

#[test]
fn our_own_credentials_are_known() {
    let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    let groups: Vec<u32> = nix::unistd::getgroups().unwrap().into_iter().map(nix::unistd::Gid::as_raw).collect();
    let ours = Credentials { uid, gid, groups: groups.clone() };
    assert!(ours.are_ours());
    assert!(Credentials { groups: groups.iter().rev().copied().chain([gid]).collect(), ..ours.clone() }.are_ours());
    assert!(!Credentials { uid: uid + 1, ..ours.clone() }.are_ours());
    assert!(!Credentials { gid: gid + 1, ..ours.clone() }.are_ours());
    assert!(!Credentials { groups: groups.into_iter().chain([4242]).collect(), ..ours }.are_ours());
}
