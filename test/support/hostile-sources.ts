/** Templates and conditions that try to read files, reach prototypes, run code, or use up time or memory. */

const PATHS = ['package.json', './package.json', '/etc/passwd', '../../etc/passwd', 'file:///etc/passwd', 'README.md', 'a\\0b']

const FILE_TAGS = ['include', 'render', 'layout', 'block', 'import', 'includes', 'load']

const fileTemplates = PATHS.flatMap((path) => [
  ...FILE_TAGS.map((tag) => `{% ${tag} "${path}" %}`),
  ...FILE_TAGS.map((tag) => `{% ${tag} metadata.path %}${path}`),
  `{{ "${path}" | read }}`,
  `{% liquid include "${path}" %}`,
  `{% capture x %}{% render "${path}" %}{% endcapture %}{{ x }}`,
])

const REACHES = [
  'constructor',
  '__proto__',
  'prototype',
  'toString',
  'valueOf',
  'hasOwnProperty',
  '__defineGetter__',
  'process',
  'require',
  'globalThis',
  'this',
  'self',
  'Function',
  'eval',
]

const prototypeTemplates = REACHES.flatMap((name) => [
  `{{ ${name} }}`,
  `{{ original.${name} }}`,
  `{{ metadata.${name} }}`,
  `{{ metadata.${name}.constructor }}`,
  `{{ steps.${name} }}`,
  `{{ steps.draft.${name} }}`,
  `{{ metadata["${name}"]["constructor"]("return process")() }}`,
  `{{ steps.draft.parsed.${name} }}`,
  `{% assign k = "${name}" %}{{ metadata[k].x }}`,
  `{{ [original].${name} }}`,
])

const nested = (open: string, body: string, close: string, depth: number): string =>
  open.repeat(depth) + body + close.repeat(depth)

const DOUBLED = '{% assign x = "a" %}{% for i in (1..16) %}{% assign x = x | append: x %}{% endfor %}'

const bombs = [
  '{% for i in (1..100000000) %}x{% endfor %}',
  '{% for i in (1..9999999999999) %}x{% endfor %}',
  nested('{% for i in (1..1000) %}', 'x', '{% endfor %}', 6),
  `{% assign a = (1..1000) %}${nested('{% for i in a %}', '', '{% endfor %}', 8)}`,
  `{% assign a = (1..1000) %}${nested('{% for i in a %}', '{{ original }}', '{% endfor %}', 3)}`,
  `{% for i in (1..9000) %}${'y'.repeat(100_000)}{% endfor %}`,
  `{% for i in (1..9000) %}${'{{ original }}'.repeat(1_000)}{% endfor %}`,
  '{% assign x = "aaaaaaaaaa" %}{% for i in (1..60) %}{% assign x = x | append: x %}{% endfor %}{{ x }}',
  '{% capture x %}aaaaaaaaaa{% endcapture %}{% for i in (1..60) %}{% capture x %}{{ x }}{{ x }}{% endcapture %}{% endfor %}{{ x }}',
  '{% assign x = "aaaaaaaaaa" %}{% for i in (1..60) %}{% assign x = x | replace: "a", x %}{% endfor %}',
  '{% assign x = original | split: "" %}{% for i in (1..60) %}{% assign x = x | concat: x %}{% endfor %}',
  '{% assign x = original | split: "" %}{% for i in (1..6000) %}{% assign y = x | sort | reverse | uniq | join %}{% endfor %}',
  '{% for i in (1..9000) %}{% assign y = original | replace: "a", "bb" | split: "b" | join: "c" %}{% endfor %}',
  '{% for i in (1..9000) %}{{ steps.big.output | upcase }}{% endfor %}',
  '{% for i in (1..9000) %}{% if steps.big.output contains "zzzzzzzz" %}{% endif %}{% endfor %}',
  `${'{{ steps.big.output | upcase | downcase | strip | capitalize }}'.repeat(900)}`,
  `{{ original ${'| upcase '.repeat(20_000)} }}`,
  `{{ original ${'| append: original '.repeat(8_000)} }}`,
  `{% if ${'original and '.repeat(15_000)} original %}x{% endif %}`,
  `{% if ${'original contains "a" or '.repeat(8_000)} original %}x{% endif %}`,
  `{{ original${'.a'.repeat(90_000)} }}`,
  `{{ metadata${'["a"]'.repeat(30_000)} }}`,
  `{{ ${'metadata['.repeat(20_000)}1${']'.repeat(20_000)} }}`,
  `{{ ${'('.repeat(50_000)} }}`,
  `{{ "${'a'.repeat(190_000)}" }}`,
  `{{ ${'9'.repeat(190_000)} }}`,
  `{{ ${'-'.repeat(190_000)}1 }}`,
  nested('{% if true %}', 'x', '{% endif %}', 950),
  nested('{% if true %}', 'x', '', 1_900),
  nested('{% capture x %}', 'x', '{% endcapture %}', 900),
  nested('{% case original %}{% when "a" %}', 'x', '{% endcase %}', 600),
  nested('{% comment %}', 'x', '{% endcomment %}', 900),
  '{% raw %}'.repeat(1_900),
  '{{'.repeat(100_000),
  '{%'.repeat(100_000),
  '{{ '.repeat(1_900),
  '{% '.repeat(1_900),
  `{% ${'a'.repeat(190_000)} %}`,
  `{% for ${'a '.repeat(90_000)} %}`,
  `{{ 'unclosed ${'\\\\'.repeat(90_000)} }}`,
  `{{ "}}" | append: original ${'| append: original '.repeat(8_000)} }}`,
  `{{ '}}' ${'and original '.repeat(15_000)} }}`,
  `{% if original ${'%}'.repeat(5)} ${'and original '.repeat(1_000)} %}x{% endif %}`,
  '{% assign x = original | split: "" %}{% for i in (1..17) %}{% assign x = x | concat: x %}{% endfor %}{{ x | sort | size }}',
  '{% assign x = "aaaaaaaaaa" %}{% for i in (1..17) %}{% assign x = x | append: x %}{% endfor %}{{ x | replace: "a", "b" | size }}',
  '{% assign x = (1..4900000) %}{{ x | size }}',
  `${DOUBLED}{% assign y = x | append: "b" | append: x %}{% assign z = y | append: y %}{% if z contains y %}{% endif %}`,
  ...['split', 'remove', 'remove_first', 'replace: y,', 'replace_first: y,'].map(
    (filter) =>
      `${DOUBLED}{% assign y = x | append: "b" | append: x %}{% assign z = x | append: x | append: x %}{{ z | ${filter}${filter.endsWith(',') ? '' : ':'} y | size }}`,
  ),
  '{{ steps.big.output | split: "" | uniq | sort | join }}',
  '{{ original | slice: 0, 99999999999 }}',
  '{{ original | truncate: 99999999999 }}',
  '{{ 9 | times: 999999999999 | times: 999999999999999999 }}',
  '{{ 1 | divided_by: 0 }}',
  '{{ 1 | round: 99999999999 }}',
  '{{ original | date: "%1000000000Y" }}',
  '{{ original | where_exp: "x", "x.constructor" }}',
  '{{ original | sort: "constructor.constructor" }}',
  '{{ metadata | map: "__proto__" | json }}',
  '{{ metadata | where: "constructor.name", "Object" | json }}',
  '{{ steps | json }}',
  '{{ original | strip_html }}',
  '{{ original | base64_decode }}',
  '{{ "now" | date: "%s" }}',
  '{% increment original %}',
  '{% cycle "a", "b" %}',
  '{% tablerow i in (1..10000000) cols: 1 %}x{% endtablerow %}',
  '{% for i in (1..10) limit: 99999999999 offset: -99999999999 %}x{% endfor %}',
]

export const HOSTILE_TEMPLATES: readonly string[] = [...fileTemplates, ...prototypeTemplates, ...bombs]

const conditionReaches = REACHES.flatMap((name) => [
  `${name} == 1`,
  `original.${name} == 1`,
  `metadata.${name} == 1`,
  `steps.draft.parsed.${name}.constructor == 1`,
  `metadata["${name}"]("return process") == 1`,
  `original.${name}("x")`,
  `${name}("process.exit()")`,
])

const loops = ['all', 'exists', 'exists_one', 'filter']

const conditionBombs = [
  'original.matches("(a+)+$")',
  'original.matches("((((a*)*)*)*)*b")',
  'steps.draft.output.matches(original)',
  ...loops.map((loop) => `metadata.list.${loop}(a, metadata.list.${loop}(b, metadata.list.${loop}(c, a == b)))`),
  ...loops.map((loop) => `[1].${loop}(a, [1].${loop}(b, a == b)) == true`),
  'metadata.list.map(a, [a, a, a]).map(b, [b, b, b]).size() > 1',
  'metadata.list.exists(a, steps.big.output.contains("zzzzzzzzz"))',
  'metadata.list.exists(a, (steps.big.output + steps.big.output).contains("zzzzzzzz"))',
  'metadata.list.all(a, metadata.list == metadata.list)',
  'metadata.long.exists(a, a == 1)',
  `${'(steps.big.output + '.repeat(40)}"x"${')'.repeat(40)} == ""`,
  `(${Array.from({ length: 70 }, () => 'steps.big.output').join(' + ')}).contains("zzzzzzzzzz")`,
  'steps.runs.output.contains(steps.pattern.output)',
  'cel.bind(x, original, x == x)',
  'original.split("").size() > 0',
  'original.split("").exists(a, original.split("").exists(b, a == b))',
  'bytes(original).json() == 1',
  'timestamp("2020-01-01T00:00:00Z") == timestamp("2020-01-01T00:00:00Z")',
  'duration("1h") == duration("1h")',
  'type(original) == string',
  `${'('.repeat(9_000)}`,
  `${'('.repeat(30)}true${')'.repeat(30)}`,
  `${'!'.repeat(9_000)}true`,
  `${'['.repeat(4_000)}${']'.repeat(4_000)} == []`,
  `${'true && '.repeat(1_200)}true`,
  `${'true ? '.repeat(1_000)}true`,
  `"${'a'.repeat(9_000)}" == ""`,
  `${'9'.repeat(9_000)} == 1`,
  `[${'1,'.repeat(4_000)}1].size() > 1`,
  `{${'"a":1,'.repeat(1_000)}"a":1}.size() > 1`,
  `original${'.a'.repeat(4_000)} == 1`,
  `original == ${'-'.repeat(9_000)}1`,
  'a'.repeat(10_001),
  '',
  '"unclosed',
  '\u0000',
  '// only a comment',
  'true; process.exit()',
  'true\n&& process.exit()',
  `\`\${process.exit()}\``,
  '(() => true)()',
  'new Date() == 1',
  '{{ original }}',
]

export const HOSTILE_CONDITIONS: readonly string[] = [...conditionReaches, ...conditionBombs]
