//! What a worker is built from: classes by name.

use crate::{Connector, Converter, HeaderConverter, Predicate, TaskKind, Transform};

/// A class that settings may name.
pub struct Plugin<T: ?Sized> {
    /// In full, with the Java package for what Kafka has as well.
    pub class: &'static str,
    pub version: &'static str,
    pub new: fn() -> Box<T>,
}

impl<T: ?Sized> Clone for Plugin<T> {
    fn clone(&self) -> Plugin<T> {
        *self
    }
}

impl<T: ?Sized> Copy for Plugin<T> {}

impl<T: ?Sized> Plugin<T> {
    /// The name without its package; inner classes keep the outer one (`Cast$Value`).
    pub fn simple_name(&self) -> &'static str {
        self.class.rsplit('.').next().unwrap_or(self.class)
    }

    /// Whether a setting means this class: by its full name, its simple name, or that without `suffix`.
    fn is_called(&self, name: &str, suffix: &str) -> bool {
        let simple = self.simple_name();
        name == self.class || name == simple || simple.strip_suffix(suffix).is_some_and(|s| !s.is_empty() && s == name)
    }
}

/// The classes that a worker knows.
///
/// ```
/// # use connect_api::Plugins;
/// let mut plugins = Plugins::new();
/// // plugins.connector("org.example.Tide", "1.0", || Box::new(Tide::default()));
/// assert!(plugins.find_connector("org.example.Tide").is_none());
/// ```
#[derive(Clone, Default)]
pub struct Plugins {
    connectors: Vec<Plugin<dyn Connector>>,
    converters: Vec<Plugin<dyn Converter>>,
    header_converters: Vec<Plugin<dyn HeaderConverter>>,
    transforms: Vec<Plugin<dyn Transform>>,
    predicates: Vec<Plugin<dyn Predicate>>,
}

macro_rules! kind {
    ($add:ident, $find:ident, $all:ident, $of:path, $suffix:literal) => {
        /// Adds a class.
        pub fn $add(&mut self, class: &'static str, version: &'static str, new: fn() -> Box<dyn $of>) -> &mut Self {
            self.$all.push(Plugin { class, version, new });
            self
        }

        /// The class of that name: in full, simple, or simple without its last word. The one added last is found first.
        pub fn $find(&self, name: &str) -> Option<Plugin<dyn $of>> {
            self.$all.iter().rev().find(|p| p.is_called(name, $suffix)).copied()
        }

        /// All of them, in the order they were added.
        pub fn $all(&self) -> &[Plugin<dyn $of>] {
            &self.$all
        }
    };
}

impl Plugins {
    pub fn new() -> Plugins {
        Plugins::default()
    }

    kind!(connector, find_connector, connectors, Connector, "Connector");
    kind!(converter, find_converter, converters, Converter, "Converter");
    kind!(header_converter, find_header_converter, header_converters, HeaderConverter, "HeaderConverter");
    kind!(transform, find_transform, transforms, Transform, "Transformation");
    kind!(predicate, find_predicate, predicates, Predicate, "Predicate");

    /// The connectors of one kind.
    pub fn connectors_of(&self, kind: TaskKind) -> impl Iterator<Item = &Plugin<dyn Connector>> {
        self.connectors.iter().filter(move |p| (p.new)().kind() == kind)
    }
}
