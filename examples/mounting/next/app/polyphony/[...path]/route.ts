import { mounted } from '../../../polyphony.ts'

// No answer is made when the app is built, and a flow may take its time.
export const dynamic = 'force-dynamic'
export const maxDuration = 300

const answer = async (request: Request): Promise<Response> => (await mounted()).fetch(request)

export { answer as DELETE, answer as GET, answer as HEAD, answer as OPTIONS, answer as POST, answer as PUT }
