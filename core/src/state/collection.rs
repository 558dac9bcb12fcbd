//! Collections as writes name them: by their names, or as a [`TypedCollection`].

use std::marker::PhantomData;

use serde::Serialize;

use crate::state::schema::{Collection, StreamSchema, Validator, prefix_of};

/// A collection whose entities have a type: a write to it takes no other. It declares the schema and
/// names the collection in writes, so that a name is spelt once:
///
/// ```no_run
/// use durstream_core::{Options, StreamSchema, TypedCollection, Validator, create_durable_stream};
///
/// #[derive(serde::Serialize)]
/// struct Shipment {
///     id: String,
///     status: String,
/// }
///
/// # fn main() -> Result<(), durstream_core::Error> {
/// let shipments = TypedCollection::<Shipment>::new("shipments", "shipment", "id", Validator::Any);
/// let options = Options::new().stream_path("/shipments").producer_id("shipping-service");
/// let producer = create_durable_stream(options, StreamSchema::new().with(&shipments))?;
/// let shipment = Shipment { id: "ship_123".to_owned(), status: "in_transit".to_owned() };
/// producer.upsert(&shipments, &shipment)?;
/// producer.delete(&shipments, "ship_123")?;
/// # Ok(())
/// # }
/// ```
///
/// A value of another type does not compile, in an upsert or in a transaction:
///
/// ```compile_fail,E0277
/// # use durstream_core::*;
/// # #[derive(serde::Serialize)] struct Shipment { id: String }
/// #[derive(serde::Serialize)] struct Order { id: String }
/// fn write(producer: &StateProducer, shipments: &TypedCollection<Shipment>, order: &Order) {
///     producer.upsert(shipments, order);
/// }
/// ```
///
/// ```compile_fail,E0277
/// # use durstream_core::*;
/// # #[derive(serde::Serialize)] struct Shipment { id: String }
/// # #[derive(serde::Serialize)] struct Order { id: String }
/// fn write(changes: &mut Transaction<'_>, shipments: &TypedCollection<Shipment>, order: &Order) {
///     changes.upsert(shipments, order);
/// }
/// ```
///
/// ```compile_fail,E0277
/// # use durstream_core::*;
/// # #[derive(serde::Serialize)] struct Shipment { id: String }
/// # #[derive(serde::Serialize)] struct Order { id: String }
/// fn write(producer: &StateProducer, shipments: &TypedCollection<Shipment>, orders: Vec<Order>) {
///     producer.upsert_many(shipments, orders);
/// }
/// ```
///
/// Text is no entity, and what is no collection takes nothing and has nothing to delete:
///
/// ```compile_fail,E0277
/// # use durstream_core::*;
/// # #[derive(serde::Serialize)] struct Shipment { id: String }
/// fn write(producer: &StateProducer, shipments: &TypedCollection<Shipment>) {
///     producer.upsert(shipments, "ship_123");
/// }
/// ```
///
/// ```compile_fail,E0277
/// # use durstream_core::*;
/// fn write(producer: &StateProducer) {
///     producer.delete(&5, "ship_123");
/// }
/// ```
///
/// That a collection is of the producer's own schema is looked at in each write: one that is not is
/// refused (`invalid-entity`).
pub struct TypedCollection<T: ?Sized> {
    name: String,
    collection: Collection,
    prefix: String,
    entity: PhantomData<fn(&T)>,
}

impl<T: Serialize + ?Sized> TypedCollection<T> {
    /// A collection of this name, of entities of a type and with their primary key's field. Checked when
    /// the producer is opened.
    pub fn new(
        name: impl Into<String>,
        entity_type: impl Into<String>,
        primary_key: impl Into<String>,
        validator: Validator,
    ) -> Self {
        let collection = Collection::new(entity_type, primary_key, validator);
        let prefix = prefix_of(&collection.entity_type);
        TypedCollection { name: name.into(), collection, prefix, entity: PhantomData }
    }
}

impl<T: ?Sized> Clone for TypedCollection<T> {
    fn clone(&self) -> Self {
        let (name, prefix) = (self.name.clone(), self.prefix.clone());
        TypedCollection { name, collection: self.collection.clone(), prefix, entity: PhantomData }
    }
}

impl StreamSchema {
    /// Adds a collection whose entities have a type; otherwise as [`collection`](Self::collection).
    pub fn with<T: ?Sized>(self, collection: &TypedCollection<T>) -> Self {
        self.collection(collection.name.as_str(), collection.collection.clone())
    }
}

/// A collection as a write names it: its name as text, or a [`TypedCollection`].
#[diagnostic::on_unimplemented(message = "`{Self}` names no collection")]
pub trait CollectionRef: sealed::Sealed {
    /// The name of the collection.
    #[doc(hidden)]
    fn name(&self) -> &str;

    /// What its events begin with, and the field of its primary key, where they are known.
    #[doc(hidden)]
    fn shape(&self) -> Option<(&str, &str)> {
        None
    }
}

/// A collection that takes entities of a type: a name takes any, a [`TypedCollection`] its own.
#[diagnostic::on_unimplemented(message = "a write to `{Self}` takes no `{T}`")]
pub trait Takes<T: ?Sized>: CollectionRef {}

impl<N: AsRef<str> + ?Sized> CollectionRef for N {
    fn name(&self) -> &str {
        self.as_ref()
    }
}

impl<N: AsRef<str> + ?Sized, T: ?Sized> Takes<T> for N {}

impl<T: ?Sized> CollectionRef for TypedCollection<T> {
    fn name(&self) -> &str {
        &self.name
    }

    fn shape(&self) -> Option<(&str, &str)> {
        Some((&self.prefix, &self.collection.primary_key))
    }
}

impl<T: ?Sized> Takes<T> for TypedCollection<T> {}
impl<T: ?Sized> Takes<&T> for TypedCollection<T> {}

mod sealed {
    pub trait Sealed {}
    impl<N: AsRef<str> + ?Sized> Sealed for N {}
    impl<T: ?Sized> Sealed for super::TypedCollection<T> {}
}
