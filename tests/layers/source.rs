//! The modules of a crate, and the arrows between them, read from the source.
//!
//! An arrow is any path that begins with `crate`, `self` or `super`, or with a child's name in a `use`, outside of `#[cfg(test)]`. A name
//! that a module re-exports leads to the module that defines the name, so a `pub use` in a parent does not hide an arrow.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, Item, ItemMod, ItemUse, Lit, Meta, UseTree};

/// The names of a module from the root of its crate; the root itself has none.
pub type ModulePath = Vec<String>;

/// One use of one module by another.
#[derive(Clone, Debug)]
pub struct Arrow {
    pub from: ModulePath,
    pub to: ModulePath,
    file: PathBuf,
    line: usize,
}

impl fmt::Display for Arrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from.join("::"), self.to.join("::"));
        write!(f, "{}:{}: `{from}` uses `{to}`", self.file.display(), self.line)
    }
}

/// A crate as its source has it.
#[derive(Default)]
pub struct Crate {
    modules: BTreeMap<ModulePath, Module>,
}

/// What one module mentions and imports. Paths are absolute.
#[derive(Default)]
struct Module {
    file: PathBuf,
    mentions: Vec<(ModulePath, usize)>,
    imports: BTreeMap<String, ModulePath>,
}

impl Crate {
    /// Reads the crate whose root is the file `root`, such as `agent/src/lib.rs`.
    pub fn read(root: &Path) -> Self {
        let mut read = Self::default();
        let directory = root.parent().expect("a file is in a directory");
        read.file(root, directory, &Vec::new());
        read
    }

    /// The modules directly below the root.
    pub fn top_modules(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().filter(|path| path.len() == 1).map(|path| path[0].as_str())
    }

    /// Every arrow from one module to another one.
    pub fn arrows(&self) -> Vec<Arrow> {
        let of_module = |(from, module): (&ModulePath, &Module)| {
            let arrow = |(mentioned, line): &(ModulePath, usize)| Arrow {
                from: from.clone(),
                to: self.defining_module(mentioned),
                file: module.file.clone(),
                line: *line,
            };
            module.mentions.iter().map(arrow).filter(|arrow| arrow.from != arrow.to).collect::<Vec<_>>()
        };
        self.modules.iter().flat_map(of_module).collect()
    }

    /// The module that defines what `path` names, after all re-exports.
    fn defining_module(&self, path: &[String]) -> ModulePath {
        let mut path = path.to_vec();
        // Imports can form a ring, such as two modules with a glob of each other.
        for _ in 0..16 {
            let depth = (0..=path.len()).rev().find(|n| self.modules.contains_key(&path[..*n])).unwrap_or_default();
            let (module, rest) = path.split_at(depth);
            let imported = rest.first().and_then(|name| self.modules.get(module)?.imports.get(name));
            let Some(target) = imported else { return module.to_vec() };
            path = target.iter().chain(&rest[1..]).cloned().collect();
        }
        path
    }

    fn file(&mut self, file: &Path, children: &Path, path: &ModulePath) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.items(&parsed.items, file, children, path);
    }

    /// Takes in the items of the module `path`, whose child modules have their files in the directory `children`.
    fn items(&mut self, items: &[Item], file: &Path, children: &Path, path: &ModulePath) {
        let modules: Vec<&ItemMod> = items.iter().filter_map(as_module).collect();
        let names = modules.iter().map(|module| module.ident.to_string()).collect();
        let module = Module { file: file.to_owned(), ..Module::default() };
        let mut reader = Reader { path: path.clone(), children: names, module };
        items.iter().filter(|item| as_module(item).is_none()).for_each(|item| reader.visit_item(item));
        self.modules.insert(path.clone(), reader.module);
        for module in modules.into_iter().filter(|module| !is_test(&module.attrs)) {
            let name = module.ident.to_string();
            let child_path = [path.clone(), vec![name.clone()]].concat();
            let below = children.join(&name);
            match (&module.content, path_attribute(&module.attrs)) {
                (Some((_, items)), _) => self.items(items, file, &below, &child_path),
                (None, Some(given)) => self.file(&file.with_file_name(given), &below, &child_path),
                (None, None) => {
                    let flat = children.join(format!("{name}.rs"));
                    let file = if flat.exists() { flat } else { below.join("mod.rs") };
                    self.file(&file, &below, &child_path);
                }
            }
        }
    }
}

fn as_module(item: &Item) -> Option<&ItemMod> {
    if let Item::Mod(module) = item { Some(module) } else { None }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string().contains("test"),
        _ => attribute.path().is_ident("test"),
    })
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find(|attribute| attribute.path().is_ident("path")).and_then(|attribute| {
        let Meta::NameValue(pair) = &attribute.meta else { return None };
        let Expr::Lit(literal) = &pair.value else { return None };
        if let Lit::Str(text) = &literal.lit { Some(text.value()) } else { None }
    })
}

/// Collects what one module mentions.
struct Reader {
    path: ModulePath,
    children: Vec<String>,
    module: Module,
}

impl Reader {
    /// The absolute path, if `segments` can be told to stay in this crate.
    fn absolute(&self, segments: &[String], in_use: bool) -> Option<ModulePath> {
        let (first, rest) = segments.split_first()?;
        let mut base = match first.as_str() {
            "crate" => Vec::new(),
            "self" => self.path.clone(),
            "super" => self.path.split_last()?.1.to_vec(),
            child if in_use && self.children.iter().any(|name| name == child) => {
                return Some([self.path.as_slice(), segments].concat());
            }
            _ => return None,
        };
        let mut rest = rest;
        while let [next, more @ ..] = rest
            && next == "super"
        {
            base.pop();
            rest = more;
        }
        Some([base.as_slice(), rest].concat())
    }

    fn mention(&mut self, segments: &[String], line: usize, in_use: bool) {
        if let Some(path) = self.absolute(segments, in_use) {
            self.module.mentions.push((path, line));
        }
    }

    fn use_tree(&mut self, tree: &UseTree, before: &[String], line: usize) {
        let with = |name: String| [before, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.use_tree(&path.tree, &with(path.ident.to_string()), line),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.use_tree(tree, before, line)),
            UseTree::Glob(_) => self.mention(before, line, true),
            UseTree::Name(name) if name.ident == "self" => {
                let name = before.last().cloned().unwrap_or_default();
                self.import(before, name, line);
            }
            UseTree::Name(name) => self.import(&with(name.ident.to_string()), name.ident.to_string(), line),
            UseTree::Rename(rename) if rename.ident == "self" => self.import(before, rename.rename.to_string(), line),
            UseTree::Rename(rename) => {
                self.import(&with(rename.ident.to_string()), rename.rename.to_string(), line);
            }
        }
    }

    fn import(&mut self, segments: &[String], name: String, line: usize) {
        self.mention(segments, line, true);
        if let Some(path) = self.absolute(segments, true)
            && path != [self.path.as_slice(), std::slice::from_ref(&name)].concat()
        {
            self.module.imports.insert(name, path);
        }
    }

    /// Paths inside a macro call, which the parser leaves as tokens.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut segments: Vec<String> = Vec::new();
        let mut colons = 0;
        let mut line = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' && !segments.is_empty() => colons += 1,
                TokenTree::Ident(ident) if colons == 2 => {
                    segments.push(ident.to_string());
                    colons = 0;
                }
                other => {
                    self.mention(&std::mem::take(&mut segments), line, false);
                    colons = 0;
                    match other {
                        TokenTree::Ident(ident) => {
                            line = ident.span().start().line;
                            segments.push(ident.to_string());
                        }
                        TokenTree::Group(group) => self.tokens(group.stream()),
                        TokenTree::Punct(_) | TokenTree::Literal(_) => {}
                    }
                }
            }
        }
        self.mention(&segments, line, false);
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Const(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Static(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let line = item.use_token.span.start().line;
        self.use_tree(&item.tree, &[], line);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let line = path.segments.first().map_or(0, |segment| segment.ident.span().start().line);
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.mention(&segments, line, false);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}
