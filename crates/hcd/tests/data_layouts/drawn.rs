//! Folders of classes without halves: what is drawn of them.

use super::{open, shade, spoilt, write};
use hcd::data::layouts::Layout;
use hcd::data::{Dataset, Request, Splits, single_folder};
use std::fs;
use tempfile::TempDir;

fn classes_alone() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    (0..10).for_each(|level| shade(root.path(), &format!("cat/{level}.png"), level));
    (0..5).for_each(|level| shade(root.path(), &format!("dog/deep/{level}.png"), 100 + level));
    write(root.path(), "README.md", "no image");
    root
}

#[test]
fn folders_without_halves_get_a_drawn_one() {
    let root = classes_alone();
    let layout = Layout::recognise(root.path()).unwrap();
    assert_eq!(layout, Layout::SingleFolder);
    let notice = layout.notice(root.path()).unwrap();
    assert!(
        notice.ends_with("comes without a test part; 20 % of each class were drawn as one (seed 0)"),
        "{notice}"
    );
    assert_eq!(Layout::Folder.notice(root.path()), None);
    let ids = |set: &dyn Dataset| (0..set.len()).map(|index| set.id(index)).collect::<Vec<_>>();
    let Splits { train, test, .. } = open(root.path()).unwrap();
    let of = |class| (0..test.len()).filter(|&index| test.label(index) == class).count();
    assert_eq!((train.len(), of(0), of(1)), (12, 2, 1));
    let mut both = [ids(train.as_ref()), ids(test.as_ref())].concat();
    both.sort_unstable();
    assert_eq!(both, (0..15).collect::<Vec<_>>());
    // Drawn once and for all: whoever opens the folder again compares on the same images.
    assert_eq!(ids(open(root.path()).unwrap().test.as_ref()), ids(test.as_ref()));
    let other = single_folder::draw(root.path(), 0.4, 1, &Request::default()).unwrap();
    assert_eq!((other.train.len(), other.test.len()), (9, 6));
}

#[test]
fn folders_that_are_no_set_of_classes_are_not_recognised() {
    let root = classes_alone();
    for half in ["train", "Test", "val"] {
        let other = classes_alone();
        fs::rename(other.path().join("dog"), other.path().join(half)).unwrap();
        assert_ne!(Layout::recognise(other.path()), Some(Layout::SingleFolder), "{half}");
    }
    fs::rename(root.path().join("dog"), root.path().join(".dog")).unwrap();
    assert_eq!(Layout::recognise(root.path()), None, "one class");
    assert_eq!(Layout::recognise(&root.path().join("gone")), None);
    assert_eq!(Layout::recognise(&root.path().join("README.md")), None);
}

#[test]
fn draws_that_cannot_be_are_told() {
    let root = classes_alone();
    for share in [0.0, 1.0, f64::NAN] {
        let found = single_folder::draw(root.path(), share, 0, &Request::default()).unwrap_err().to_string();
        assert!(found.ends_with(&format!("share to test on is {share}, expected in (0, 1)")), "{found}");
    }
    spoilt(
        classes_alone,
        |root| fs::create_dir(root.join("empty")).unwrap(),
        &["empty: class without images"],
    );
    let single = tempfile::tempdir().unwrap();
    ["cat", "dog"].iter().for_each(|class| shade(single.path(), &format!("{class}/a.png"), 1));
    let found = open(single.path()).unwrap_err().to_string();
    assert!(found.contains("each class has one image; expected two or more"), "{found}");
}
