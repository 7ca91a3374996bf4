//! The library's top-level modules use each other in one direction: there is no circle among them, so that each can be
//! read, tested and moved without those above it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The modules that each top-level module uses, with a file that does so.
type Graph = BTreeMap<String, BTreeMap<String, String>>;

/// Adds what the sources in `folder` use to `graph`, for the top-level module `top`, or for the one that each file or folder is.
fn read(folder: &Path, top: Option<&str>, modules: &BTreeSet<String>, graph: &mut Graph) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let top = top.unwrap_or(&name);
        if path.is_dir() {
            read(&path, Some(top), modules, graph);
        } else if modules.contains(top) && path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            for used in used_in(&text).into_iter().filter(|used| used != top && modules.contains(used)) {
                let uses = graph.entry(top.to_string()).or_default();
                uses.entry(used).or_insert_with(|| path.display().to_string());
            }
        }
    }
}

/// The names that follow `crate::` in code. Comments do not count, nor does what comes after the start of the unit tests, which
/// stand at the end of a file.
fn used_in(text: &str) -> Vec<String> {
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
    let code = lines.collect::<Vec<_>>().join(" ");
    let name = |path: &str| {
        let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
        path[..end].to_string()
    };
    let paths = code.split("crate::").skip(1);
    let names = paths.flat_map(|path| match path.strip_prefix('{') {
        // `crate::{a, b::c}` names several, each at the start of its path.
        Some(list) => list.split('}').next().into_iter().flat_map(|l| l.split(',')).collect::<Vec<_>>(),
        None => vec![path],
    });
    names.map(|path| name(path.trim_start())).filter(|name| !name.is_empty()).collect()
}

/// A circle through the modules, if there is one: each uses the next, the last the first.
fn circle(graph: &Graph) -> Option<Vec<String>> {
    fn walk(graph: &Graph, path: &mut Vec<String>, done: &mut BTreeSet<String>) -> Option<Vec<String>> {
        let module = path.last()?.clone();
        for used in graph.get(&module).into_iter().flat_map(BTreeMap::keys) {
            if let Some(start) = path.iter().position(|module| module == used) {
                return Some(path[start..].to_vec());
            }
            if !done.contains(used) {
                path.push(used.clone());
                if let Some(found) = walk(graph, path, done) {
                    return Some(found);
                }
                path.pop();
            }
        }
        done.insert(module);
        None
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|module| walk(graph, &mut vec![module.clone()], &mut done))
}

fn graph_of_the_library() -> Graph {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let names = std::fs::read_to_string(source.join("lib.rs")).unwrap();
    let declared = names.lines().filter_map(|line| line.strip_suffix(';')?.rsplit_once("mod "));
    let modules: BTreeSet<String> = declared.map(|(_, name)| name.to_string()).collect();
    assert!(["model", "sudoku", "train"].iter().all(|module| modules.contains(*module)), "{modules:?}");
    let mut graph = Graph::new();
    read(&source, None, &modules, &mut graph);
    graph
}

#[test]
fn no_top_level_module_uses_one_that_uses_it() {
    let graph = graph_of_the_library();
    assert!(graph["train"].contains_key("model") && graph["model"].contains_key("sudoku"), "{graph:?}");
    if let Some(circle) = circle(&graph) {
        let uses = circle.iter().zip(circle.iter().cycle().skip(1));
        let lines: Vec<_> = uses.map(|(a, b)| format!("{a} uses {b} in {}", graph[a][b])).collect();
        panic!("modules in a circle:\n{}", lines.join("\n"));
    }
}

/// What is used by way of another module counts too.
#[test]
fn puzzles_and_settings_know_no_model() {
    let graph = graph_of_the_library();
    for (module, unknown) in [
        ("sudoku", &["model", "config", "train", "checkpoint"][..]),
        ("data", &["model", "train", "checkpoint", "compress"]),
        ("config", &["model", "train", "checkpoint", "compress", "data"]),
        ("checkpoint", &["train", "compress", "plot"]),
        ("train", &["plot", "bench"]),
    ] {
        let (mut known, mut new) = (BTreeSet::new(), vec![module]);
        while let Some(module) = new.pop() {
            if known.insert(module) {
                new.extend(graph.get(module).into_iter().flat_map(BTreeMap::keys).map(String::as_str));
            }
        }
        for unknown in unknown {
            assert!(!known.contains(unknown), "{module} knows {unknown}, by way of some of {known:?}");
        }
    }
}

#[test]
fn circles_and_uses_are_found_where_they_are() {
    let text = "use crate::model::{A, B};\n// use crate::train::C;\nlet x = crate::plot::y(crate::ops::z());\n\
                use crate::{\n    data,\n    solve::Answer,\n};\n/// See [`crate::bench`].\n#[cfg(test)]\nmod tests { use crate::trace; }\n";
    assert_eq!(used_in(text), ["model", "plot", "ops", "data", "solve"]);
    let graph = |edges: &[(&str, &str)]| {
        let mut graph = Graph::new();
        for (a, b) in edges {
            graph.entry((*a).into()).or_default().insert((*b).into(), String::new());
        }
        graph
    };
    assert_eq!(circle(&graph(&[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])), None);
    let found = circle(&graph(&[("a", "b"), ("b", "c"), ("c", "d"), ("d", "b")])).unwrap();
    assert_eq!(found, ["b", "c", "d"]);
}
