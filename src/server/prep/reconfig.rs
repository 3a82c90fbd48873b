//! reconfig, as far as a standalone server knows it.

use super::Preparation;
use crate::proto::Code;
use crate::proto::txn::Txn;

impl Preparation<'_, '_, '_> {
    /// Refused, but in Java's order: the switch, the session, then that there is no ensemble.
    pub(super) fn reconfig(&mut self) -> Result<Txn, Code> {
        if !self.context.state.options.reconfig_enabled {
            log::error!("Reconfig operation requested but reconfig feature is disabled.");
            return Err(Code::ReconfigDisabled);
        }
        self.check_session()?;
        Err(Code::Unimplemented)
    }
}
