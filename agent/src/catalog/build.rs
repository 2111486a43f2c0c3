//! Puts the catalog together: built-in apps, their extensions, new apps; one owner for each host pattern.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use super::parse::{AppEntry, read_apps};
use super::{App, AppIndex, Catalog, DEFAULT_PORTS, HostMap, HostPattern, MAX_APPS, MAX_PATTERNS};
use crate::diagnostic::{Diagnostic, SourceFile};

const BUILTIN: &str = include_str!("builtin.toml");

/// What was built, and everything that was wrong.
pub(crate) struct Recovered {
    pub(crate) catalog: Catalog,
    /// Whether every file could be read through, so that an id that is not in the catalog does not exist.
    pub(crate) complete: bool,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

pub(super) fn recover(additions: &[SourceFile]) -> Recovered {
    let mut build = BASE.clone();
    for source in additions {
        build.add_file(source);
    }
    build.finish()
}

/// The built-in apps, read once: a reload only reads what can have changed.
static BASE: LazyLock<Build> = LazyLock::new(|| {
    let mut build = Build { complete: true, ..Build::default() };
    build.add_file(&SourceFile::new("(built-in catalog)", BUILTIN));
    build.builtin = build.apps.len();
    build
});

/// Where something was said: index of the file, byte range.
#[derive(Debug, Clone)]
struct Place {
    file: usize,
    span: Range<usize>,
}

#[derive(Debug, Clone, Default)]
struct Build {
    sources: Vec<SourceFile>,
    apps: Vec<App>,
    /// Where each app was defined first.
    defined: Vec<Place>,
    /// How many of the apps are built in.
    builtin: usize,
    ids: HashMap<Arc<str>, usize>,
    /// Where each suite was named first.
    suites: HashMap<Arc<str>, Place>,
    owners: HostMap<(usize, Place)>,
    complete: bool,
    diagnostics: Vec<Diagnostic>,
}

impl Build {
    fn add_file(&mut self, source: &SourceFile) {
        let read = read_apps(source);
        self.diagnostics.extend(read.diagnostics);
        self.complete &= read.value.is_some();
        self.sources.push(source.clone());
        for entry in read.value.into_iter().flatten() {
            self.add_app(entry);
        }
    }

    fn add_app(&mut self, entry: AppEntry) {
        let place = Place { file: self.sources.len() - 1, span: entry.id_span.clone() };
        let index = match self.ids.get(&entry.id).copied() {
            Some(index) if index < self.builtin => {
                self.extend(index, &entry, &place);
                index
            }
            Some(index) => {
                let known = self.defined.get(index).cloned();
                self.complain(&place, format!("the app \"{}\" is defined twice", entry.id), known);
                return;
            }
            None => match self.define(&entry, &place) {
                Some(index) => index,
                None => return,
            },
        };
        self.add_aliases(index, &entry, &place);
        self.add_domains(index, entry.domains);
        let Some(app) = self.apps.get_mut(index) else { return };
        for port in entry.ports {
            if !app.ports.contains(&port) {
                app.ports.push(port);
            }
        }
        app.activities.extend(entry.activities);
        app.redirect_target |= entry.redirect_target;
    }

    fn define(&mut self, entry: &AppEntry, place: &Place) -> Option<usize> {
        if self.apps.len() >= MAX_APPS {
            self.complain(place, format!("there are more than {MAX_APPS} apps"), None);
            return None;
        }
        if entry.domains.is_empty() && !entry.domains_given {
            let message =
                format!("the app \"{}\" has no `domains`, and no built-in app has this id", entry.id);
            self.complain(place, message, None);
            return None;
        }
        if entry.suite.as_ref() != Some(&entry.id) {
            self.claim(&entry.id, "id", place);
        }
        if let Some(suite) = &entry.suite {
            self.join(suite, place);
        }
        let index = self.apps.len();
        self.ids.insert(entry.id.clone(), index);
        self.defined.push(place.clone());
        self.apps.push(App {
            id: entry.id.clone(),
            name: entry.name.clone().unwrap_or_else(|| entry.id.clone()),
            suite: entry.suite.clone(),
            category: entry.category.clone(),
            ports: if entry.ports.is_empty() { DEFAULT_PORTS.to_vec() } else { Vec::new() },
            ..App::default()
        });
        Some(index)
    }

    /// An extension may rename an app and join it to a suite, but not take it out of one: policies count on that.
    fn extend(&mut self, index: usize, entry: &AppEntry, place: &Place) {
        let Some(app) = self.apps.get_mut(index) else { return };
        if let Some(name) = &entry.name {
            app.name = name.clone();
        }
        if let Some(category) = &entry.category {
            app.category = Some(category.clone());
        }
        match (&app.suite, &entry.suite) {
            (Some(now), Some(other)) if now != other => {
                let message =
                    format!("the built-in app \"{}\" is part of the suite \"{now}\" and stays so", entry.id);
                self.complain(place, message, None);
            }
            (None, Some(suite)) => {
                app.suite = Some(suite.clone());
                self.join(suite, place);
            }
            (_, None | Some(_)) => {}
        }
    }

    fn add_aliases(&mut self, index: usize, entry: &AppEntry, place: &Place) {
        for alias in &entry.aliases {
            match self.ids.get(alias).copied() {
                Some(owner) if owner == index => {}
                Some(owner) => {
                    let known = self.defined.get(owner).cloned();
                    self.complain(place, format!("the alias \"{alias}\" names another app already"), known);
                }
                None => {
                    self.claim(alias, "alias", place);
                    self.ids.insert(alias.clone(), index);
                    if let Some(app) = self.apps.get_mut(index) {
                        app.aliases.push(alias.clone());
                    }
                }
            }
        }
    }

    /// A policy names apps and suites by the same words: one that is both would cover more than it says, unless the app is
    /// of the suite that has its name.
    fn claim(&mut self, id: &Arc<str>, what: &str, place: &Place) {
        if let Some(known) = self.suites.get(id).cloned() {
            self.complain(place, format!("the {what} \"{id}\" is the name of a suite already"), Some(known));
        }
    }

    fn join(&mut self, suite: &Arc<str>, place: &Place) {
        let owner = self.ids.get(suite).copied();
        let is_of_it = |app: &App| app.suite.as_ref() == Some(suite);
        if let Some(owner) = owner.filter(|owner| !self.apps.get(*owner).is_some_and(is_of_it)) {
            let known = self.defined.get(owner).cloned();
            self.complain(place, format!("the suite \"{suite}\" has the name of an app"), known);
        }
        self.suites.entry(suite.clone()).or_insert_with(|| place.clone());
    }

    fn add_domains(&mut self, index: usize, domains: Vec<(HostPattern, Range<usize>)>) {
        for (pattern, span) in domains {
            let place = Place { file: self.sources.len() - 1, span };
            if self.owners.len() >= MAX_PATTERNS {
                self.complain(&place, format!("there are more than {MAX_PATTERNS} host patterns"), None);
                return;
            }
            match self.owners.insert(&pattern, (index, place.clone())).cloned() {
                None => {
                    if let Some(app) = self.apps.get_mut(index) {
                        app.domains.push(pattern);
                    }
                }
                Some((owner, _)) if owner == index => {}
                Some((owner, known)) => self.conflict(&pattern, owner, &place, known),
            }
        }
    }

    fn conflict(&mut self, pattern: &HostPattern, owner: usize, place: &Place, known: Place) {
        let owner = self.apps.get(owner).map(|app| app.id.clone()).unwrap_or_default();
        self.complain(place, format!("\"{pattern}\" belongs to the app \"{owner}\" already"), Some(known));
        if let Some(diagnostic) = self.diagnostics.last_mut() {
            diagnostic.help = Some(format!(
                "extend the app `{owner}`, or claim a more specific name: the most specific pattern wins"
            ));
        }
    }

    fn complain(&mut self, place: &Place, message: String, known: Option<Place>) {
        let Some(source) = self.sources.get(place.file) else { return };
        let mut diagnostic = Diagnostic::new(source, place.span.clone(), message);
        if let Some((known, source)) =
            known.and_then(|known| Some((known.span, self.sources.get(known.file)?)))
        {
            diagnostic = diagnostic.related(source, known, "it was defined here first");
        }
        self.diagnostics.push(diagnostic);
    }

    fn finish(self) -> Recovered {
        let narrow = |index: usize| AppIndex::try_from(index).unwrap_or(AppIndex::MAX);
        let mut catalog = Catalog {
            ids: self.ids.into_iter().map(|(id, index)| (id, narrow(index))).collect(),
            hosts: self.owners.map(|(index, _)| narrow(index)),
            ..Catalog::default()
        };
        for (index, app) in self.apps.into_iter().enumerate() {
            if let Some(suite) = &app.suite {
                catalog.suites.entry(suite.clone()).or_default().push(narrow(index));
            }
            catalog.apps.push(Arc::new(app));
        }
        Recovered { catalog, complete: self.complete, diagnostics: self.diagnostics }
    }
}
