//! The rules: an arrow points to a lower floor, and no modules use each other in a circle.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Arrow, Crate};

/// The floors of one crate, the highest first, as ARCHITECTURE.md shows them.
pub struct Floors(Vec<Vec<String>>);

impl Floors {
    /// Reads the table below the heading that ends with `` `name` ``: one row a floor, its modules in backticks in the first column.
    pub fn of_page(page: &str, name: &str) -> Self {
        let heading = |line: &str| line.starts_with('#') && line.ends_with(&format!("`{name}`"));
        let table = page.lines().skip_while(|line| !heading(line)).skip(1).take_while(|line| !line.starts_with('#'));
        let cells = table.filter_map(|line| line.strip_prefix('|')?.split('|').next());
        let modules = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let floors: Vec<_> = cells.map(modules).filter(|floor| !floor.is_empty()).collect();
        assert!(!floors.is_empty(), "ARCHITECTURE.md has no floors of `{name}`");
        Self(floors)
    }

    fn floor(&self, module: &str) -> Option<usize> {
        self.0.iter().position(|floor| floor.iter().any(|name| name == module))
    }

    /// What of the source contradicts the table.
    pub fn violations(&self, source: &Crate) -> Vec<String> {
        let known: BTreeSet<&str> = source.top_modules().collect();
        let listed: BTreeSet<&str> = self.0.iter().flatten().map(String::as_str).collect();
        let unlisted = known.difference(&listed).map(|module| format!("module `{module}` has no floor"));
        let gone = listed.difference(&known).map(|module| format!("there is no module `{module}`"));
        let upward = source.arrows().into_iter().filter_map(|arrow| {
            let (from, to) = (self.floor(arrow.from.first()?)?, self.floor(arrow.to.first()?)?);
            let within = arrow.from.first() == arrow.to.first();
            (!within && to <= from).then(|| format!("{arrow}, which is not on a lower floor"))
        });
        unlisted.chain(gone).chain(upward).collect()
    }
}

/// The circles among siblings anywhere in the crate, each as its arrows. A module stands for its whole subtree.
pub fn circles(source: &Crate) -> Vec<String> {
    let mut siblings: BTreeMap<Vec<String>, Graph> = BTreeMap::new();
    for arrow in source.arrows() {
        let shared = arrow.from.iter().zip(&arrow.to).take_while(|(from, to)| from == to).count();
        // One contains the other: a parent uses its children, and they may use what it defines.
        let (Some(from), Some(to)) = (arrow.from.get(shared), arrow.to.get(shared)) else { continue };
        let (from, to) = (from.clone(), to.clone());
        let graph = siblings.entry(arrow.from[..shared].to_vec()).or_default();
        graph.entry(from).or_default().entry(to).or_insert(arrow);
    }
    siblings.values().filter_map(circle).collect()
}

type Graph = BTreeMap<String, BTreeMap<String, Arrow>>;

/// One circle of the graph, if there is any: the shortest way from a module back to itself.
fn circle(graph: &Graph) -> Option<String> {
    let ways = graph.keys().filter_map(|start| way_back(graph, start));
    let shortest = ways.min_by_key(Vec::len)?;
    let arrows = shortest.windows(2).map(|pair| format!("  {}", graph[&pair[0]][&pair[1]]));
    Some(format!("circle {}:\n{}", shortest.join(" → "), arrows.collect::<Vec<_>>().join("\n")))
}

fn way_back(graph: &Graph, start: &String) -> Option<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut ways = vec![vec![start.clone()]];
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in graph.get(way.last()?).into_iter().flat_map(BTreeMap::keys) {
                let way = [way.as_slice(), std::slice::from_ref(next)].concat();
                if next == start {
                    return Some(way);
                }
                if seen.insert(next.clone()) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}
