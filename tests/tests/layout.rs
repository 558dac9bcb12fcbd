//! Who may know whom: the core's floors as its own maps show them, and no circle of files anywhere.
//!
//! `core/src/lib.rs`, `core/src/delivery/mod.rs` and `core/src/outbox/mod.rs` each have a map in
//! their comments, the upper floors first. A module knows what is on floors below its own; two on one floor know nothing of
//! each other. Tests may know anything.
#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// A module by its path from the crate's root, which is empty.
type Module = Vec<String>;

/// The modules of a crate that are built without tests, and what each imports of the others.
struct Crate {
    files: BTreeMap<Module, PathBuf>,
    imports: BTreeMap<Module, BTreeSet<Module>>,
}

impl Crate {
    fn read(root: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(root);
        let (mut files, mut paths) = (BTreeMap::new(), BTreeMap::new());
        let mut left = vec![(Module::new(), root)];
        while let Some((module, file)) = left.pop() {
            let parsed = syn::parse_file(&std::fs::read_to_string(&file).unwrap()).unwrap();
            let mut reader = Reader { module: &module, paths: Vec::new(), children: Vec::new() };
            reader.visit_file(&parsed);
            let is_folders = module.is_empty() || file.ends_with("mod.rs");
            let folder = if is_folders { file.with_file_name("") } else { file.with_extension("") };
            for child in reader.children {
                let names = [format!("{child}.rs"), format!("{child}/mod.rs")];
                let file = names.iter().map(|name| folder.join(name)).find(|file| file.exists());
                let file =
                    file.unwrap_or_else(|| panic!("no file for `mod {child}` in {folder:?}"));
                left.push(([&module[..], &[child]].concat(), file));
            }
            paths.insert(module.clone(), reader.paths);
            files.insert(module, file);
        }
        let module_of = |path: &Module| {
            let mut prefixes = (0..=path.len()).rev().map(|n| path[..n].to_vec());
            prefixes.find(|prefix| files.contains_key(prefix)).expect("the root is one")
        };
        let resolve = |(module, paths): (Module, Vec<Module>)| {
            let found = paths.iter().map(module_of);
            let others = found.filter(|found| *found != module).collect();
            (module, others)
        };
        let imports = paths.into_iter().map(resolve).collect();
        Crate { files, imports }
    }

    /// Fails on files that import each other, directly or round about.
    fn has_no_circles(&self) {
        let mut done = BTreeSet::new();
        for start in self.imports.keys() {
            self.follow(start, &mut Vec::new(), &mut done);
        }
    }

    fn follow(&self, module: &Module, path: &mut Vec<Module>, done: &mut BTreeSet<Module>) {
        if let Some(n) = path.iter().position(|before| before == module) {
            let circle: Vec<_> = path[n..].iter().chain([module]).map(|m| self.shown(m)).collect();
            panic!("files import each other: {}", circle.join(" -> "));
        }
        if done.contains(module) {
            return;
        }
        path.push(module.clone());
        self.imports[module].iter().for_each(|next| self.follow(next, path, done));
        path.pop();
        done.insert(module.clone());
    }

    /// Fails on an import that leaves the floors of a folder, upwards or sideways.
    fn keeps_to_the_map_of(&self, folder: &[&str]) {
        let folder: Module = folder.iter().map(|&name| name.to_owned()).collect();
        let map = Map::read(&self.files[&folder]);
        let below = |module: &Module| {
            module.strip_prefix(&folder[..]).and_then(|rest| rest.first()).cloned()
        };
        let mut checked = 0;
        for (from, to) in self.pairs() {
            let (Some(own), Some(other)) = (below(from), below(to)) else {
                let is_of_the_roof = *to == folder && below(from).is_some();
                assert!(!is_of_the_roof, "{} -> {}", self.shown(from), self.shown(to));
                continue;
            };
            let is_below = own == other || map.floor(&other) < map.floor(&own);
            let (from, to) = (self.shown(from), self.shown(to));
            assert!(is_below, "{from} -> {to}: `{other}` is not on a floor below `{own}`");
            checked += 1;
        }
        assert!(checked > 0, "there is something to check");
    }

    fn pairs(&self) -> impl Iterator<Item = (&Module, &Module)> {
        self.imports.iter().flat_map(|(from, others)| others.iter().map(move |to| (from, to)))
    }

    fn shown(&self, module: &Module) -> String {
        let file = self.files[module].display().to_string();
        file.rsplit_once("/src/").map_or(file.clone(), |(_, file)| file.to_owned())
    }
}

/// The floors of a folder, the lowest first.
struct Map(Vec<Vec<String>>);

impl Map {
    /// From the comment lines `//   name name   what it is`, the upper floors first.
    fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix("//   "));
        let names = lines.filter_map(|line| line.trim_start().split("   ").next());
        let floors = names.map(|names| names.split(' ').map(str::to_owned).collect());
        let mut floors: Vec<_> = floors.collect();
        floors.reverse();
        Map(floors)
    }

    fn floor(&self, name: &str) -> usize {
        let floor = self.0.iter().position(|floor| floor.iter().any(|known| known == name));
        floor.unwrap_or_else(|| panic!("`{name}` is not on the map"))
    }
}

/// Reads a file's imports, and the modules that have files of their own.
struct Reader<'a> {
    module: &'a Module,
    paths: Vec<Module>,
    children: Vec<String>,
}

impl Reader<'_> {
    fn add(&mut self, path: &[String]) {
        let is = |word: &str| path.first().is_some_and(|first| first == word);
        if is("crate") {
            self.paths.push(path[1..].to_vec());
        } else if is("self") || is("super") {
            let up = path.iter().take_while(|name| *name == "super").count();
            let base = self.module.len().saturating_sub(up);
            self.paths.push([&self.module[..base], &path[up.max(1)..]].concat());
        } else if path.first().is_some_and(|first| self.children.contains(first)) {
            self.paths.push([&self.module[..], path].concat());
        }
    }

    fn add_tree(&mut self, tree: &syn::UseTree, before: &[String]) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.add_tree(&path.tree, &with(&path.ident)),
            syn::UseTree::Name(name) if name.ident == "self" => self.add(before),
            syn::UseTree::Name(name) => self.add(&with(&name.ident)),
            syn::UseTree::Rename(rename) => self.add(&with(&rename.ident)),
            syn::UseTree::Glob(_) => self.add(before),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.add_tree(tree, before));
            }
        }
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    let says_test = |list: &syn::MetaList| list.tokens.to_string().contains("test");
    let is = |attribute: &syn::Attribute| {
        attribute.path().is_ident("cfg") && attribute.meta.require_list().is_ok_and(says_test)
    };
    attributes.iter().any(is)
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        match &item.content {
            _ if is_for_tests(&item.attrs) => {}
            Some(_) => visit::visit_item_mod(self, item),
            None => self.children.push(item.ident.to_string()),
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.add_tree(&item.tree, &[]);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if matches!(names[0].as_str(), "crate" | "super") {
            self.add(&names);
        }
        visit::visit_path(self, path);
    }

    /// `pub(crate)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    /// Nothing is parsed there: the words are looked at.
    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        let tokens = item.tokens.to_string().replace(" :: ", "::");
        for word in tokens.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
            let names: Vec<_> = word.split("::").map(str::to_owned).collect();
            if names.len() > 1 && matches!(names[0].as_str(), "crate" | "super") {
                self.add(&names);
            }
        }
    }
}

#[test]
fn the_core_has_one_direction() {
    let core = Crate::read("core/src/lib.rs");
    core.has_no_circles();
    core.keeps_to_the_map_of(&[]);
    core.keeps_to_the_map_of(&["delivery"]);
    core.keeps_to_the_map_of(&["outbox"]);
}

#[test]
fn no_files_of_the_other_crates_import_each_other() {
    for root in [
        "ffi-c/src/lib.rs",
        "bindings-python/src/lib.rs",
        "bindings-node/src/lib.rs",
        "packaging/src/lib.rs",
        "packaging/src/main.rs",
        "tests/src/lib.rs",
        "tests/bench/src/main.rs",
        "tests/conformance/src/main.rs",
        "tests/demo/src/main.rs",
        "tests/faults/src/main.rs",
        "tests/faults/writer/src/main.rs",
        "tests/interop/src/main.rs",
        "tests/interop/rust/src/main.rs",
        "tests/soak/src/main.rs",
        "tests/soak/services/rust/src/main.rs",
        "xtask/src/main.rs",
    ] {
        Crate::read(root).has_no_circles();
    }
}

/// Clippy reads the nearest file alone.
#[test]
fn the_core_keeps_the_lints_of_the_workspace() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let (workspace, core) = (read("clippy.toml"), read("core/clippy.toml"));
    for line in workspace.lines() {
        assert!(core.lines().any(|other| other == line), "core/clippy.toml lacks {line}");
    }
}
