"""What hangs on a manager, one noun each: `manager.transfer` is `features.transfer`.

A feature gets what it needs of the store, the lookup and the turns, and never the manager. It asks the store by its
contract alone, so that it works on every backend; what must be fast is a method of the store.
"""
