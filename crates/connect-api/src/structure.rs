//! Values with named fields.

use crate::{Error, Result, SchemaRef, Value};

/// A value for each field of a schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Struct {
    schema: SchemaRef,
    values: Vec<Value>,
}

impl Struct {
    /// A struct whose fields are all missing.
    pub fn new(schema: SchemaRef) -> Result<Struct> {
        if schema.kind() != crate::Type::Struct {
            return Err(Error::data(format!("Not a struct schema: {schema}")));
        }
        let values = vec![Value::Null; schema.fields().len()];
        Ok(Struct { schema, values })
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// A field's value, or its default when it has none.
    pub fn get(&self, name: &str) -> Result<&Value> {
        let index = self.index(name)?;
        match &self.values[index] {
            Value::Null => Ok(self.schema.fields()[index].schema.default().unwrap_or(&Value::Null)),
            value => Ok(value),
        }
    }

    /// A field's value as it was put.
    pub fn get_without_default(&self, name: &str) -> Result<&Value> {
        Ok(&self.values[self.index(name)?])
    }

    /// The values in the order of the fields, without defaults.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// Sets a field, if the value is what the field's schema says.
    pub fn put(&mut self, name: &str, value: Value) -> Result<()> {
        let index = self.index(name)?;
        self.schema.fields()[index].schema.validate_as(Some(name), &value)?;
        self.values[index] = value;
        Ok(())
    }

    /// Whether every field has what its schema wants.
    pub fn validate(&self) -> Result<()> {
        for (field, value) in self.schema.fields().iter().zip(&self.values) {
            if value.is_null() && (field.schema.is_optional() || field.schema.default().is_some()) {
                continue;
            }
            field.schema.validate_as(Some(&field.name), value)?;
        }
        Ok(())
    }

    fn index(&self, name: &str) -> Result<usize> {
        let field = self.schema.field(name).ok_or_else(|| Error::data(format!("{name} is not a valid field name")))?;
        Ok(field.index)
    }
}
