"""Pages of the S codes: source text and YAML."""

from .codes import Code, Page

PAGES: dict[Code, Page] = {
    Code.SYNTAX: Page(
        "the text is not valid YAML",
        "The file cannot be taken apart into keys and values. The caret stands where the text stops making sense; "
        "the mistake is there or just before, most often a bracket or quote that is never closed, or a line with "
        "the wrong indentation.",
        "model: {architecture: mace\ntrain: {epochs: 100}",
        "Close the bracket or quote that the note points at, or align the line with its neighbours. A text that "
        "contains `: ` or ` #`, or starts with one of `@ * & ! % [ {`, needs quotes.",
    ),
    Code.TAB: Page(
        "a tab indents a line",
        "YAML indents with spaces only, because the width of a tab differs between editors.",
        "model:\n\tarchitecture: mace",
        "Replace every leading tab by two spaces, and let the editor insert spaces for the tab key.",
    ),
    Code.DUPLICATE_KEY: Page(
        "a key is written twice",
        "Two entries of one mapping have the same key. Many readers keep the last one in silence; here neither "
        "wins, since the other may be the one that was meant.",
        "train:\n  epochs: 100\n  epochs: 200",
        "Keep one of the two. To vary a spec use `extends:` in a file of its own, or `--set train.epochs=200`.",
    ),
    Code.MERGE_KEY: Page(
        "the merge key `<<` is not supported",
        "`<<: *anchor` belongs to YAML 1.1. Specs are YAML 1.2, where `<<` is an ordinary key that means nothing.",
        "small: &small {channels: 16}\nmodel: {<<: *small, layers: 2}",
        "Write the keys out, or put the common part into a file of its own and name it with `extends:`.",
    ),
    Code.TAG: Page(
        "a tag is not allowed",
        "Tags such as `!!python/object` make YAML build objects. A spec is plain data and never runs code, so only "
        "the core tags (`!!str`, `!!int`, `!!float`, `!!bool`, `!!null`, `!!map`, `!!seq`) are read, where they fit.",
        "name: !!python/name:os.system x",
        "Remove the tag. To make a text of something that looks like a number, put it in quotes.",
    ),
    Code.KEY_NOT_TEXT: Page(
        "a key is not a text",
        "Every key of the language is a text. A plain `1`, `true`, `null` or `1e3` before the colon is a number or "
        "a truth value, and lists or mappings cannot be keys at all.",
        "data: {isolated_atoms: {1: -13.6}}",
        "Put the key in quotes if it is meant as text. Species are named by their symbols: `H: -13.6`.",
    ),
    Code.UNKNOWN_ALIAS: Page(
        "an alias has no anchor",
        "`*name` repeats the value that `&name` marked further above, and no such mark exists. A text that starts "
        "with a star is read as an alias, too.",
        "model: {channels: *width}",
        "Mark the first occurrence with `&width`, or quote the text.",
    ),
    Code.RECURSIVE_ALIAS: Page(
        "a value contains itself",
        "An alias stands inside the value that it repeats, which would go on for ever.",
        "model: &model {blocks: [*model]}",
        "Write the value out. A spec is finite; repeated blocks are written with `kind: repeat`.",
    ),
    Code.TOO_MANY_VALUES: Page(
        "the text holds too many values",
        "A spec may hold 20,000 values, counting every alias as a full copy. More is nearly always data that "
        "belongs in a data file, or aliases of aliases that explode.",
        "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        "b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
        "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\n"
        "d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n"
        "e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]",
        "Move the data into a file and name it under `data:`.",
    ),
    Code.TOO_DEEP: Page(
        "values are nested too deeply",
        "Lists and mappings may be nested 64 deep. The language itself needs fewer than ten levels.",
        "model: " + "[" * 64 + "]" * 64,
        "Remove the superfluous brackets.",
    ),
    Code.TOO_LARGE: Page(
        "the text is too large",
        "A spec may have one million characters. A larger file is probably not a spec, or has data in it.",
        "equic check train_300K.xyz        # a data file instead of a spec",
        "Name the spec file. Keep data in data files, and name them under `data:`.",
    ),
    Code.ENCODING: Page(
        "the file is not UTF-8",
        "Specs are UTF-8, so that Å and Greek letters mean the same everywhere. The place shown is the first byte "
        "that is not.",
        "cutoff: 5.0 Å        # saved as Latin-1",
        "Save the file as UTF-8 in the editor, or convert it: `iconv -f latin1 -t utf8 spec.yaml`.",
    ),
    Code.CONTROL_CHARACTER: Page(
        "a character is not allowed",
        "The text contains a control character, a byte order mark in the middle, or one of the line separators "
        "U+0085, U+2028 and U+2029, on which readers of YAML disagree. Such characters are invisible, and come "
        "with text copied from documents and web pages.",
        "name:\u2028acetylacetone",
        "Delete the character at the place shown, or type the line again.",
    ),
    Code.SEVERAL_DOCUMENTS: Page(
        "a file holds several documents",
        "`---` starts another YAML document. A spec is one document; what follows was not read.",
        "equic: 1\n---\nname: another",
        "Keep one spec in each file. Common parts can be shared with `extends:`.",
    ),
    Code.EMPTY_FILE: Page(
        "there is nothing to read",
        "The file is empty, or holds nothing but comments.",
        "# a spec, to be written",
        "Start with `equic: 1`, or let `equic init DATA` write a first spec from a data file.",
    ),
    Code.FILE_NOT_FOUND: Page(
        "a file does not exist",
        "The spec, or a file that it extends, is not there. Paths of `extends:` are relative to the file that "
        "names them, paths on the command line to the current folder.",
        "extends: no_such_base.yaml",
        "Check the spelling and the folder.",
    ),
    Code.EXTENDS_CYCLE: Page(
        "a file extends itself",
        "Following `extends:` from file to file leads back to the start, so none of them can come first.",
        "extends: spec.yaml        # in spec.yaml itself",
        "Remove one `extends:` of the circle.",
    ),
    Code.NUMBER_TOO_LARGE: Page(
        "a number is too large",
        "The number is larger than a double, about 1.8e308, and would silently become infinity.",
        "train: {clip: 1e999}",
        "Write a smaller number, `.inf` if infinity is meant, or quotes if it is a text.",
    ),
    Code.NOT_A_MAPPING: Page(
        "a spec is not a mapping",
        "At its top level a spec consists of `key: value` lines. This file holds a list or a single value, so it "
        "is probably not a spec.",
        "- equic: 1\n- name: acetylacetone",
        "Write one `key: value` on each line, without `- ` before it.",
    ),
    Code.BAD_EXTENDS: Page(
        "`extends` does not name a file",
        "`extends:` takes the path of one YAML file. Its mappings are filled in key by key below those of this "
        "file; lists and single values of this file replace those of the base.",
        "extends: [base.yaml, other.yaml]",
        "Name one file. To combine several, let each extend the next.",
    ),
    Code.FILE_NOT_READABLE: Page(
        "a file cannot be read",
        "The path exists, but the system refuses to read it: it is a folder, or the permissions do not allow it.",
        "extends: .",
        "Name a file, and check its permissions.",
    ),
}
