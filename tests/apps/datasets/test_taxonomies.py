"""Readers of taxonomies: what they read, and what they say about data that is not as it should be."""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apps.datasets.registry import load_taxonomy
from apps.datasets.taxonomies import edge_list, newick, taxonomy, wordnet
from apps.datasets.taxonomies.taxonomy import Mending, Taxonomy
from geomdml.hierarchy import closure

ANIMALS = (("dog", "canine"), ("wolf", "canine"), ("canine", "carnivore"), ("cat", "carnivore"))


def named(found: Taxonomy) -> set[tuple[str, str]]:
    return {(found.names[child], found.names[parent]) for child, parent in found.edges.tolist()}


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_taxonomy_knows_ancestors_depths_and_paths():
    found = taxonomy.taxonomy("animals", [*ANIMALS, ("dog", "pet"), ("pet", "animal"), ("carnivore", "animal")])
    names = found.names
    above = {names[v] for u, v in found.ancestors.tolist() if names[u] == "dog"}
    assert above == {"canine", "carnivore", "pet", "animal"}
    depths = dict(zip(names, found.depths.tolist(), strict=True))
    assert depths == {"animal": 0, "pet": 1, "carnivore": 1, "canine": 2, "cat": 2, "dog": 2, "wolf": 3}
    assert [names[each] for each in found.path_to_root(found.number("dog"))] == ["dog", "pet", "animal"]
    assert [names[each] for each in found.roots] == ["animal"]
    assert int(found.below[found.number("canine")]) == 2
    part = found.subtree("carnivore")
    assert named(part) == set(ANIMALS)
    with pytest.raises(ValueError, match="'wolf' has no nodes below it"):
        found.subtree("wolf")
    with pytest.raises(ValueError, match="no node 'carni' in animals; there are carnivore"):
        found.number("carni")


def test_what_is_not_as_it_should_be_is_named_counted_and_mended():
    cycle = [*ANIMALS, ("carnivore", "dog")]
    with pytest.raises(ValueError, match=r"1 edges that close a cycle \(.*\); mend them by --data.cycles cut"):
        taxonomy.taxonomy("t", cycle)
    cut = taxonomy.taxonomy("t", cycle, mending=Mending(cycles="cut"))
    assert len(cut.edges) == 4 and "1 edges that close a cycle" in cut.notes[0]
    twice = [*ANIMALS, ANIMALS[0], ANIMALS[0]]
    merged = taxonomy.taxonomy("t", twice)
    assert named(merged) == set(ANIMALS) and merged.notes == ("1 duplicate edges (dog → canine): merge",)
    with pytest.raises(ValueError, match=r"duplicate edges \(dog → canine\); mend them by --data.duplicates merge"):
        taxonomy.taxonomy("t", twice, mending=Mending(duplicates="refuse"))
    forest = [*ANIMALS, ("rose", "plant")]
    assert taxonomy.taxonomy("t", forest).notes == ("2 several roots (carnivore, plant): keep",)
    with pytest.raises(ValueError, match=r"mend them by --data\.several_roots keep or join"):
        taxonomy.taxonomy("t", forest, mending=Mending(several_roots="refuse"))
    joined = taxonomy.taxonomy("t", forest, mending=Mending(several_roots="join"))
    assert named(joined) == {*forest, ("carnivore", "root"), ("plant", "root")}
    declared = ["dog", "wolf", "canine", "cat"]
    with pytest.raises(ValueError, match=r"1 unknown parents \(carnivore\); mend them by --data.unknown_parents"):
        taxonomy.taxonomy("t", ANIMALS, known=declared)
    added = taxonomy.taxonomy("t", ANIMALS, known=declared, mending=Mending(unknown_parents="add"))
    assert named(added) == set(ANIMALS)
    dropped = taxonomy.taxonomy("t", ANIMALS, known=declared, mending=Mending(unknown_parents="drop"))
    assert named(dropped) == set(ANIMALS[:2])


def test_sizes_and_names_are_bounded(monkeypatch):
    for name in ("", "a\nb", "x" * 501):
        with pytest.raises(ValueError, match="printable letters"):
            taxonomy.taxonomy("t", [("a", name)])
    with pytest.raises(ValueError, match="t has no edges"):
        taxonomy.taxonomy("t", [])
    with pytest.raises(ValueError, match="no edges beside those that close a cycle"):
        taxonomy.taxonomy("t", [("a", "a")], mending=Mending(cycles="cut"))
    monkeypatch.setattr(taxonomy, "MOST_NODES", 3)
    with pytest.raises(ValueError, match="more than 3 nodes"):
        taxonomy.taxonomy("t", ANIMALS)
    monkeypatch.setattr(taxonomy, "MOST_NODES", 100)
    monkeypatch.setattr(taxonomy, "MOST_EDGES", 3)
    with pytest.raises(ValueError, match="more than 3 edges"):
        taxonomy.taxonomy("t", ANIMALS)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=20))
def test_cutting_leaves_no_cycle_and_cuts_nothing_else(edges):
    pairs = [(str(child), str(parent)) for child, parent in edges]
    try:
        found = taxonomy.taxonomy("t", pairs, mending=Mending(cycles="cut"))
    except ValueError as error:
        assert "no edges beside" in str(error)
        return
    assert len(found.ancestors)  # closure refuses cycles
    assert named(found) <= set(pairs)
    for pair in set(pairs) - named(found):  # each that was cut closes one
        again = [found.names.index(name) for name in pair]
        with pytest.raises(ValueError, match="cycle"):
            closure(torch.cat([found.edges, torch.tensor([again])]))


def test_lists_of_edges_in_every_form_are_one_taxonomy(tmp_path):
    rows = [f"{child},{parent}" for child, parent in ANIMALS]
    files = [
        write(tmp_path / "plain.csv", "\n".join(rows)),
        write(tmp_path / "header.csv", "\n".join(["parent,weight,child", *(f"{p},1,{c}" for c, p in ANIMALS)])),
        write(tmp_path / "tabs.tsv", "\n".join(["id1\tid2", "", *("\t".join(pair) for pair in ANIMALS)])),
        write(tmp_path / "marked.csv", "\ufeff" + "\n".join(rows)),
    ]
    pq.write_table(
        pa.table(dict(zip(("child", "parent"), zip(*ANIMALS, strict=True), strict=True))), tmp_path / "t.parquet"
    )
    for path in [*files, tmp_path / "t.parquet"]:
        found = load_taxonomy(path, "nouns", Mending())
        assert named(found) == set(ANIMALS), path
        assert found.title == path.name
    declared = write(tmp_path / "declared.csv", "\n".join([*rows, "canine,", "carnivore,"]))
    assert named(load_taxonomy(declared, "nouns", Mending())) == set(ANIMALS)
    with pytest.raises(ValueError, match=r"1 unknown parents \(carnivore\)"):
        load_taxonomy(write(tmp_path / "declared.csv", "\n".join([*rows, "canine,"])), "nouns", Mending())


def test_broken_lists_say_where(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"line 2 of '.*a.csv' has 1 columns; expected child and parent"):
        load_taxonomy(write(tmp_path / "a.csv", "dog,canine\nwolf\n"), "nouns", Mending())
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe,x\n")
    with pytest.raises(ValueError, match="expected UTF-8"):
        load_taxonomy(tmp_path / "b.csv", "nouns", Mending())
    with pytest.raises(ValueError, match=r"line 1 of '.*c.csv' cannot be read"):
        load_taxonomy(write(tmp_path / "c.csv", '"' + "x" * 200_000 + '",b'), "nouns", Mending())
    with pytest.raises(ValueError, match="expected a Parquet file"):
        load_taxonomy(write(tmp_path / "d.parquet", "PAR1"), "nouns", Mending())
    pq.write_table(pa.table({"a": ["x"]}), tmp_path / "e.parquet")
    with pytest.raises(ValueError, match=r"has columns \['a'\]; expected child and parent"):
        load_taxonomy(tmp_path / "e.parquet", "nouns", Mending())
    monkeypatch.setattr(edge_list, "MOST_BYTES", 5)
    with pytest.raises(ValueError, match="expected a smaller list"):
        load_taxonomy(tmp_path / "a.csv", "nouns", Mending())


def test_folders_are_nodes_and_links_are_not(tmp_path):
    root = tmp_path / "animals"
    for folder in ("canine/dog", "canine/wolf", "cat", ".hidden/x"):
        (root / folder).mkdir(parents=True)
    write(root / "cat" / "image.png", "")
    (root / "link").symlink_to(root / "canine")
    assert named(load_taxonomy(root, "nouns", Mending())) == {
        ("animals/canine", "animals"),
        ("animals/cat", "animals"),
        ("animals/canine/dog", "animals/canine"),
        ("animals/canine/wolf", "animals/canine"),
    }


def test_a_byte_order_mark_is_no_part_of_a_tree(tmp_path):
    plain, marked = ((tmp_path / name) for name in ("plain.nwk", "marked.nwk"))
    plain.write_text("(a,b)r;", encoding="utf-8")
    marked.write_text("(a,b)r;", encoding="utf-8-sig")
    assert named(newick.load(marked)) == named(newick.load(plain))


def test_newick_trees(tmp_path):
    def edges(text: str) -> set[tuple[str, str]]:
        return named(newick.load(write(tmp_path / "t.nwk", text)))

    assert edges("(dog:0.1,wolf:2e-3)canine:1;") == set(ANIMALS[:2])
    assert edges("((dog,wolf)canine,cat)carnivore;\n") == set(ANIMALS)
    assert edges("('a b',[a (comment)]'it''s')'x,y';") == {("a b", "x,y"), ("it's", "x,y")}
    assert edges("(a,(b,c));") == {("a", "node 0"), ("node 2", "node 0"), ("b", "node 2"), ("c", "node 2")}
    deep = "(" * 5000 + "a" + ")" * 5000 + ";"
    assert len(edges(deep)) == 5000
    for text, message in (
        ("(a,b", "ends within brackets"),
        ("(a,b)c", "without a semicolon"),
        ("(a,b));", "out of place"),
        ("a,b;", "out of place"),
        ("(a b)c;", "out of place"),
        ("(a,'b)c;", "at letter 4"),
        ("(a,a)c;", "the name 'a' twice"),
    ):
        with pytest.raises(ValueError, match=message):
            edges(text)


def synset(offset: int, word: str, *pointers: tuple[str, int]) -> str:
    shown = " ".join(f"{symbol} {target:08} n 0000" for symbol, target in pointers)
    return f"{offset:08} 05 n 02 {word} 0 other 0 {len(pointers):03} {shown} | a gloss | with a bar\n"


@pytest.fixture
def small_wordnet(tmp_path) -> Path:
    """Three synsets in the layout of WordNet's database."""
    licence = "  1 This software and database is provided\n"
    lines = synset(1, "animal", ("~", 2)) + synset(2, "Dog", ("@", 1), ("~i", 3)) + synset(3, "Rex", ("@i", 2))
    write(tmp_path / "data.noun", licence + lines)
    index = "animal n 1 1 ~ 1 0 00000001  \ndog n 2 1 @ 2 0 00000009 00000002  \nrex n 1 1 @ 1 0 00000003  \n"
    write(tmp_path / "index.noun", licence + index)
    return tmp_path


def test_wordnet_has_hypernyms_and_instances_under_the_usual_names(small_wordnet):
    found = load_taxonomy(small_wordnet, "nouns", Mending())
    assert named(found) == {("Dog.n.02", "animal.n.01"), ("Rex.n.01", "Dog.n.02")}
    assert found.number("animal") == found.number("animal.n.01")


def test_damaged_wordnet_files_say_where(small_wordnet):
    for name, message in (("data.noun", "line 5 of '.*' is no synset"), ("index.noun", "line 5 of '.*' is no line")):
        whole = (small_wordnet / name).read_text()
        write(small_wordnet / name, whole + "00000004 05\n")
        with pytest.raises(ValueError, match=message):
            wordnet.load("nouns", small_wordnet)
        write(small_wordnet / name, whole)
    whole = (small_wordnet / "index.noun").read_text()
    write(small_wordnet / "index.noun", whole.replace("rex", "tex"))
    with pytest.raises(ValueError, match="no sense 00000003 of 'rex'"):
        wordnet.load("nouns", small_wordnet)
    write(small_wordnet / "index.noun", whole)
    write(small_wordnet / "data.noun", (small_wordnet / "data.noun").read_text() + synset(4, "dog", ("@", 77)))
    write(small_wordnet / "index.noun", whole.replace("00000009", "00000004"))
    with pytest.raises(ValueError, match=r"1 unknown parents \(00000077\)"):
        wordnet.load("nouns", small_wordnet)
    (small_wordnet / "index.noun").unlink()
    with pytest.raises(ValueError, match=r"index.noun' cannot be read"):
        wordnet.load("nouns", small_wordnet)


def test_ontologies_are_read_by_a_library_or_refused_by_its_name(tmp_path, monkeypatch):
    path = write(tmp_path / "t.obo", "format-version: 1.4\n")
    monkeypatch.setitem(sys.modules, "pronto", None)
    with pytest.raises(ValueError, match="not installed here: pip install pronto"):
        load_taxonomy(path, "nouns", Mending())


def test_ontologies_have_terms_and_their_parents(tmp_path):
    pytest.importorskip("pronto")
    terms = ["[Term]\nid: X:1\nname: animal\n", "[Term]\nid: X:2\nname: dog\nis_a: X:1\n"]
    gone = "[Term]\nid: X:3\nname: unicorn\nis_obsolete: true\n"
    path = write(tmp_path / "t.obo", "\n".join(["format-version: 1.4\nontology: x\n", *terms, gone]))
    assert named(load_taxonomy(path, "nouns", Mending())) == {("dog (X:2)", "animal (X:1)")}
    with pytest.raises(ValueError, match="pronto cannot read"):
        load_taxonomy(write(tmp_path / "b.obo", "[Term\nid"), "nouns", Mending())


def test_what_is_nowhere_or_of_no_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"--data.root '.*none.csv' does not exist"):
        load_taxonomy(tmp_path / "none.csv", "nouns", Mending())
    with pytest.raises(ValueError, match=r"of no kind that is read; expected \.csv, \.tsv"):
        load_taxonomy(write(tmp_path / "t.docx", ""), "nouns", Mending())
