//! In which order a turn of the loop takes what has come. Touches nothing: the simulator in `tests/sim` turns its nodes
//! by it too.

/// The steps of a turn.
pub trait Turn {
    /// Why a turn breaks off.
    type Stop;

    /// Takes what the children, the parent and probes have sent.
    ///
    /// # Errors
    /// The turn breaks off, as in each of the steps.
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

    /// Does what is due by its time, and judges the children.
    ///
    /// # Errors
    /// The turn breaks off.
    fn deadlines(&mut self) -> Result<(), Self::Stop>;
}

/// One turn: signs of life first, deadlines last, so that no child is declared hung while a beat of it lies unread.
///
/// # Errors
/// A step has broken it off.
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
