//! The order in which a turn of the loop handles what is pending. This file has no I/O: the simulator in `tests/sim`
//! takes the turns of its nodes by it too.

/// The steps of a turn.
pub trait Turn {
    /// Why a turn breaks off.
    type Stop;

    /// The turn is broken off. The same holds for each of the steps.
    fn frames(&mut self) -> Result<(), Self::Stop>;

    /// Takes the exits of children.
    ///
    /// # Errors
    /// The turn breaks off.
    fn exits(&mut self) -> Result<(), Self::Stop>;

    /// Takes signals.
    ///
    /// # Errors
    /// The turn breaks off.
    fn signals(&mut self) -> Result<(), Self::Stop>;

    /// Takes operators' requests.
    ///
    /// # Errors
    /// The turn breaks off.
    fn requests(&mut self) -> Result<(), Self::Stop>;

    /// Takes what workers print.
    ///
    /// # Errors
    /// The turn breaks off.
    fn output(&mut self) -> Result<(), Self::Stop>;

    /// Hands in one event after the other, with all that follows from each.
    ///
    /// # Errors
    /// The turn breaks off.
    fn settle(&mut self) -> Result<(), Self::Stop>;

    /// Handles what is due by time, and checks the heartbeats of the children.
    fn deadlines(&mut self) -> Result<(), Self::Stop>;
}

/// A step has failed, so the turn is broken off.
pub fn turn<T: Turn>(turn: &mut T) -> Result<(), T::Stop> {
    turn.frames()?;
    turn.exits()?;
    turn.signals()?;
    turn.requests()?;
    turn.output()?;
    turn.settle()?;
    turn.deadlines()?;
    turn.settle()
}
