"""Stores from stores: cut to a part, grown by experiments, put together; the parents stay as they are.

    choice      what of a store is wanted, in a user's words -> experiments and windows
    lineage     what a store says of how its windows were chosen, and what a child says of its parents
    columns     metadata of several sources -> one table of factors
    content     what a child holds -> a directory, in bounded memory; sequence is copied without recoding
    subset      some experiments and windows of a store
    matching    the windows of several stores, and which of them know what of each
    merge       stores side by side and one after another
    peaks       peak files -> labels in given windows
    rebuilt     which bins are windows when a store is built of old and new experiments
    add         new experiments, on the windows of a store or on all that qualify now

docs/growing.md says what each does to windows, labels and splits.
"""
