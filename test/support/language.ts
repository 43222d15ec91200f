import ts from 'typescript'

/** A place where a source file breaks a rule of docs/glossary.md or of the language section in CONTRIBUTING.md. */
export interface LanguageProblem {
  readonly line: number
  readonly problem: string
}

/** Words that no name in src/ contains: metaphors, and words that stood for several things. */
const BANNED_IN_NAMES = new Set(
  (
    'house houses door doors trade trades stranger strangers misfit misfits outlet told tell tells obey judge judges judged ' +
    'piece pieces place places follow follows followed follower followers following look looks looking earlier begun ' +
    'apart tries spoken written'
  ).split(' '),
)

/** Names of the public API and of stored data, which stay as they are. */
const PUBLIC_NAMES = new Set(['piece', 'lookEveryMs', 'FollowOptions', 'followFlow', 'follow', 'inHouse', 'isInHouse'])

/** Properties of the public API; the same words stay banned in all other names. */
const PUBLIC_PROPERTIES = new Set(['place'])

/** Words and phrasings that no comment in src/ contains, each with what to write instead. */
export const BANNED_IN_COMMENTS: readonly (readonly [RegExp, string])[] = [
  [/\bwhoever\b/i, 'name the subject: the caller, the client, the step'],
  [/\b(?:of|by|for|to|from|with|than) who\b/i, 'name the subject'],
  [/(?:^|[.:;] )(?:Who|Whose) (?!(?:is|are|has|may)\b[^.]*\?)/, 'name the subject instead of "Who …"'],
  [/\bnobody\b/i, 'name what does not happen: "no caller", "no process"'],
  [/\bis none\b|\bthat are none\b|\bthat is no \w+\b/i, 'say what it is'],
  [/\b(?:is|are|was|were|be) told\b|\btell(?:s|ing)?\b(?! (?:apart|whether))/i, 'report, notify, return'],
  [/\blook(?:s|ed|ing)? (?:at|for|after|again|into)\b|\ba look\b/i, 'read, check, search'],
  [
    /\b(?:house|rooms?|doors?|trades?|conductors?|strangers?|misfits?|outlets?)\b/i,
    'module, contract, adapter, application, unknown client, mismatch, writer',
  ],
  [/\bpieces?\b/i, 'chunk, item, part'],
  [/\bjudg(?:e|es|ed|ing)\b/i, 'decide, evaluate, check; a reviewer scores'],
  [/\bfollow(?:s|ed|ing|er|ers)?\b(?! from)/i, 'subscribe, stream, link, depend on'],
  [/\btakes? turns\b|\bin turn\b|\bits turn\b/i, 'alternate, one after another'],
  [
    /\b(?:a|an|the|this|each|every|next|first|last|second|further|another|one|no|many|few|\d+) tr(?:y|ies)\b|\btries of\b/i,
    'attempt',
  ],
  [/\bgoes on\b|\bgo on\b|\bgoing on\b|\bwent on\b/i, 'continue, resume'],
  [/\bby its own will\b|\bto rest\b|\bunder way\b|\blets? go\b/i, 'running, settled, release'],
  [/\bface(?:s)?\b/i, 'interface'],
  [/\bever so\b|\bany ?more than\b|\bis the matter\b/i, 'plain words'],
  [/\bS[0-4]-[A-Z]?\d+|\bSPEC\b|\bREQUIREMENTS\b|\bDESIGN\b/, 'link a decision record'],
]

const MAX_COMMENT_COLUMNS = 120

/** Every breach of the language rules in one file of src/ or templates/. */
export function findLanguageProblems(fileName: string, text: string): readonly LanguageProblem[] {
  const source = ts.createSourceFile(fileName, text, ts.ScriptTarget.Latest, true)
  const problems: LanguageProblem[] = []
  const lineAt = (position: number) => source.getLineAndCharacterOfPosition(position).line + 1

  for (const { pos, end } of commentsOf(source)) {
    const first = lineAt(pos)
    const lines = text.slice(text.lastIndexOf('\n', pos) + 1, end).split('\n')
    lines.forEach((line, index) => {
      const isAlone = index > 0 || line.trimStart().startsWith('/')
      const isLong = isAlone && line.length > MAX_COMMENT_COLUMNS && !/https?:\/\//.test(line)
      if (isLong)
        problems.push({ line: first + index, problem: `comment of ${line.length} columns, at most ${MAX_COMMENT_COLUMNS}` })
    })
    const words = text
      .slice(pos, end)
      .replace(/`[^`]*`/g, '`…`')
      .replace(/\s*\n\s*(?:\*(?!\/)|\/\/)?\s*/g, ' ')
      .replace(/^\/\*\*? ?|^\/\/ ?|\*\/$/g, '')
    for (const [pattern, instead] of BANNED_IN_COMMENTS) {
      const found = pattern.exec(words)
      if (found) problems.push({ line: first, problem: `"${found[0].trim()}" in a comment: ${instead}` })
    }
  }

  const visit = (node: ts.Node) => {
    const name = declaredName(node)
    const isPublic = name && (PUBLIC_NAMES.has(name.text) || (ts.isPropertySignature(node) && PUBLIC_PROPERTIES.has(name.text)))
    if (name && !isPublic) {
      const banned = wordsOf(name.text).find((word) => BANNED_IN_NAMES.has(word))
      if (banned) problems.push({ line: lineAt(name.getStart()), problem: `"${banned}" in the name ${name.text}` })
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return problems.sort((one, other) => one.line - other.line)
}

const wordsOf = (name: string): readonly string[] =>
  name
    .replace(/([a-z\d])([A-Z])/g, '$1 $2')
    .replace(/[_\W]+/g, ' ')
    .toLowerCase()
    .trim()
    .split(' ')

function declaredName(node: ts.Node): ts.Identifier | ts.PrivateIdentifier | undefined {
  const isDeclaration =
    ts.isVariableDeclaration(node) ||
    ts.isParameter(node) ||
    ts.isBindingElement(node) ||
    ts.isFunctionDeclaration(node) ||
    ts.isClassDeclaration(node) ||
    ts.isInterfaceDeclaration(node) ||
    ts.isTypeAliasDeclaration(node) ||
    ts.isPropertySignature(node) ||
    ts.isMethodSignature(node) ||
    ts.isMethodDeclaration(node) ||
    ts.isPropertyDeclaration(node) ||
    ts.isGetAccessorDeclaration(node)
  if (!isDeclaration || !node.name) return undefined
  return ts.isIdentifier(node.name) || ts.isPrivateIdentifier(node.name) ? node.name : undefined
}

function commentsOf(source: ts.SourceFile): readonly ts.CommentRange[] {
  const found = new Map<number, ts.CommentRange>()
  const text = source.text
  const add = (ranges: readonly ts.CommentRange[] | undefined) => {
    for (const range of ranges ?? []) found.set(range.pos, range)
  }
  const visit = (node: ts.Node) => {
    if (ts.isJsxText(node)) return
    if (node.getChildCount() === 0 || ts.isTemplateExpression(node)) {
      add(ts.getLeadingCommentRanges(text, node.getFullStart()))
      add(ts.getTrailingCommentRanges(text, node.getEnd()))
    }
    for (const child of node.getChildren()) if (!ts.isJSDoc(child)) visit(child)
  }
  visit(source)
  return [...found.values()].sort((one, other) => one.pos - other.pos)
}
