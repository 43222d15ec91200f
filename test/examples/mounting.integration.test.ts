import { createExpressApp } from '../../examples/mounting/express.ts'
import { createHonoApp } from '../../examples/mounting/hono.ts'
import { createNestApp } from '../../examples/mounting/nest.ts'
import { runApp, testMountedApp } from '../server/mount/mounted-app.ts'

testMountedApp('the app of Express', () => runApp(createExpressApp))
testMountedApp('the app of Hono', () => runApp(createHonoApp))
testMountedApp('the app of Nest', () => runApp(createNestApp))
